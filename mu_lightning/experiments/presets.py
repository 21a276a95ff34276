"""Lists of approaches: from a sweep's short arguments, and what a run is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mu_lightning.approaches.base import Approach, Training
from mu_lightning.approaches.ensemble import Ensemble
from mu_lightning.approaches.from_text.modes import Mode
from mu_lightning.approaches.iterative import Iterative
from mu_lightning.approaches.joint import Joint
from mu_lightning.approaches.one_shot import OneShot
from mu_lightning.approaches.reading import entries, read_approach
from mu_lightning.approaches.single import NEAREST, TARGET, Single
from mu_lightning.approaches.tuned import Tuned
from mu_lightning.experiments.grid import Alone
from mu_lightning.merging.recipes.modes import modes
from mu_lightning.models.votes import VOTES
from mu_lightning.settings import Tune
from mu_lightning.typology.plan import TypologySettings
from mu_lightning.typology.weights import WEIGHT_SOURCES
from mu_lightning.utilities.errors import UserError, unknown

BASELINES = {
    "native": "a model trained on the target's own labels (ceiling)",
    "nearest": "the source most similar to the target, alone",
    "sources": "each source that is used, alone (the best of them is picked using test labels)",
    "zero_shot": "every source model but the target's own, alone",
    "equal": "linear merge with equal weights",
    "shuffled": "linear merge with typology's weights given to the wrong sources, once a seed",
    "joint": "one model trained on the pooled data of the sources",
}
BASELINE_MODE = "baseline"


@dataclass(frozen=True)
class Request:
    """A sweep's short arguments.

    Attributes:
        approaches: entries of the grid: a mapping with ``approach`` and parameters, of which lists are gone through.
        methods: each a merge method's name, or a mapping with ``method`` and ``parameters``.
        preweights: where the sources' weights come from, for `methods`, `votes` and `modes`.
        modes: pairs of weights and method by their old names; ``baseline`` is the native model.
        num_languages: numbers of sources.
        votes: voting methods.
        baselines: names in `BASELINES`.
        typology: how similarities become weights.
        text: whose text methods read that learn from text; None: each method's default.
        num_examples: how many utterances of each locale.
        training: how models are trained.
        given: whether source models are given: then only what nobody gave is trained.
        joint_given: the same of a joint model.
        tune: also a merge, and with `votes` an ensemble, chosen on the sources.
    """

    approaches: Sequence[Mapping[str, Any] | str] = ()
    methods: Sequence[str | Mapping[str, Any]] = ()
    preweights: Sequence[str] = ("uriel",)
    modes: Sequence[str] = ()
    num_languages: Sequence[int] = (5,)
    votes: Sequence[str] = ()
    baselines: Sequence[str] = ()
    typology: TypologySettings = field(default_factory=TypologySettings)
    text: Mode | None = None
    num_examples: int = 100
    training: Training = field(default_factory=Training)
    given: bool = True
    joint_given: bool = False
    tune: Tune | None = None

    @property
    def alone(self) -> Alone:
        """Which source models are scored alone."""
        if "zero_shot" in self.baselines:
            return "all"
        return "used" if "sources" in self.baselines else "none"

    @property
    def source_training(self) -> Training | None:
        """How source models are trained; None where they are given."""
        return None if self.given else self.training


def approaches_of(request: Request) -> list[Approach]:
    """The approaches that a sweep's arguments ask for, in the order of its tables.

    Raises:
        UserError: an unknown name (with the nearest ones), or ``manual`` weights, which are of one target.
    """
    _check(request)
    sources, typology = request.source_training, request.typology
    found: list[Approach] = []
    if "native" in request.baselines or BASELINE_MODE in request.modes:
        found.append(Single(TARGET, training=sources))
    if "nearest" in request.baselines:
        found.append(Single(NEAREST, typology, sources))
    for number in request.num_languages:
        if "joint" in request.baselines:
            joint = None if request.joint_given else request.training
            found.append(Joint(num_languages=number, typology=typology, training=joint))
        for name, parameters, preweight in _merges(request):
            found.append(
                OneShot(
                    num_languages=number,
                    preweight=preweight,
                    typology=typology,
                    training=sources,
                    method=name,
                    parameters=parameters,
                    text=request.text,
                    num_examples=request.num_examples,
                )
            )
        for vote in request.votes:
            for preweight in request.preweights:
                found.append(
                    Ensemble(
                        num_languages=number,
                        preweight=preweight,
                        typology=typology,
                        training=sources,
                        vote_method=vote,
                    )
                )
    if request.tune is not None:
        spaces = ["merge", *(["vote"] if request.votes else [])]
        found += [Tuned(typology=typology, training=sources, space=space) for space in spaces]
    for entry in request.approaches:
        found += [_with_defaults(read_approach(one), one, request) for one in entries(entry)]
    return found


def comparison(iterative: Iterative, num_languages: int | None, tune: Tune | None = None) -> list[Approach]:
    """What a run that merges while training is compared with, trained alike: ``fit --compare``.

    Args:
        iterative: the run.
        num_languages: as of `FromSources`.
        tune: also a merge that is chosen on the sources.
    """
    shared: dict[str, Any] = {
        "num_languages": num_languages,
        "typology": iterative.typology,
        "training": iterative.training,
    }
    own: dict[str, Any] = {"preweight": iterative.preweight, "weights": iterative.weights}
    merge = iterative.merge
    return [
        Single(TARGET, training=iterative.training),
        *(
            OneShot(preweight=preweight, method=merge.method, parameters=merge.parameters, **shared)
            for preweight in ("equal", "uriel", "shuffled")
        ),
        *([Tuned(**shared)] if tune is not None else []),
        *(Ensemble(vote_method=vote, **own, **shared) for vote in VOTES),
        Joint(**shared),
    ]


def list_modes() -> str:
    """Every mode with the weights and the method that it stands for, a line each."""
    rows = {BASELINE_MODE: ("", "native: the target's own model")}
    rows |= {name: (weights or "--preweights", method) for name, (weights, method) in modes().items()}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {weights:<12}  {method}" for name, (weights, method) in rows.items())


def _check(request: Request) -> None:
    for kind, names, known in (
        ("weight source", request.preweights, WEIGHT_SOURCES),
        ("voting method", request.votes, VOTES),
        ("baseline", request.baselines, BASELINES),
        ("mode", request.modes, (*modes(), BASELINE_MODE)),
    ):
        for name in names:
            if name not in known:
                raise unknown(kind, str(name), known)
    if "manual" in (*request.preweights, *request.modes):
        raise UserError("manual weights are of one target: a sweep takes them from uriel, equal or shuffled")
    numbers = request.num_languages
    if not numbers or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in numbers):
        raise UserError(f"num_languages must be whole numbers of at least 1, not {list(numbers)}")
    if (request.methods or request.votes) and not request.preweights:
        raise UserError(f"methods and voting_methods need preweights: {', '.join(WEIGHT_SOURCES)}")


def _merges(request: Request) -> list[tuple[str, dict[str, Any], str]]:
    """Method, parameters and weight source of each merge."""
    pairs = [(*_method(entry), preweight) for entry in request.methods for preweight in request.preweights]
    for mode in request.modes:
        if mode != BASELINE_MODE:
            preweight, name = modes()[mode]
            pairs += [(name, {}, each) for each in ([preweight] if preweight else request.preweights)]
    pairs += [("linear", {}, each) for each in ("equal", "shuffled") if each in request.baselines]
    return pairs


def _method(entry: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    for key in entry:
        if key not in ("method", "parameters"):
            raise unknown("key of a method", str(key), ("method", "parameters"))
    if "method" not in entry:
        raise UserError(f"a method in the grid is a name, or a mapping with 'method' and 'parameters', not {entry}")
    return str(entry["method"]), dict(entry.get("parameters") or {})


def _with_defaults(approach: Approach, entry: Mapping[str, Any], request: Request) -> Approach:
    """An approach of the grid with the sweep's number of sources, typology and training where it names none."""
    trains = isinstance(approach, Iterative) or (isinstance(approach, Joint) and not request.joint_given)
    defaults: dict[str, Any] = {"training": request.training if trains else request.source_training}
    if hasattr(approach, "typology"):
        defaults["typology"] = request.typology
    if hasattr(approach, "num_languages") and not isinstance(approach, Tuned):
        defaults["num_languages"] = request.num_languages[0]
    return replace(approach, **{name: value for name, value in defaults.items() if name not in entry})
