"""A sweep as it was asked for, checked, and the cells that it comes to.

What cannot differ is run once: a method that takes no weights has no weight source, and only what draws (shuffled
weights, a random method) has seeds. A method of two sources takes the two nearest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mu_lightning.locales import locale
from mu_lightning.merging.engine.job import plan_job
from mu_lightning.merging.method import Method
from mu_lightning.merging.recipes.modes import modes
from mu_lightning.merging.registry import find_method
from mu_lightning.models.votes import VOTES
from mu_lightning.typology.plan import SourcePlan, TypologySettings, plan_sources, reweighted
from mu_lightning.typology.weights import WEIGHT_SOURCES
from mu_lightning.utilities.errors import UserError, unknown

BASELINES = {
    "native": "the target's own model, where there is one",
    "sources": "each source that is used, alone (the best source of those used is among them)",
    "zero_shot": "every source model but the target's own, alone (best and mean zero-shot of all)",
    "equal": "linear merge with equal weights",
    "shuffled": "linear merge with typology's weights given to the wrong sources, once a seed",
    "joint": "one model trained on several locales' data together: the folder of joint_model",
}
BASELINE_MODE = "baseline"


@dataclass(frozen=True)
class Grid:
    """What is asked of a sweep.

    Attributes:
        targets: the locales to merge and vote for.
        methods: each a merge method's name, or a mapping with ``method`` and ``parameters``.
        preweights: where the sources' weights come from, for merges and votes.
        modes: pairs of weight source and method by their old names (see `modes`); ``baseline`` is the native model.
        num_languages: numbers of sources.
        votes: voting methods.
        baselines: names in `BASELINES`.
        seeds: of what draws.
        sources: the locales that can be sources; None for all with a model.
        typology: how similarities become weights.
    """

    targets: Sequence[str]
    methods: Sequence[str | Mapping[str, Any]] = ()
    preweights: Sequence[str] = ("uriel",)
    modes: Sequence[str] = ()
    num_languages: Sequence[int] = (5,)
    votes: Sequence[str] = ()
    baselines: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    sources: Sequence[str] | None = None
    typology: TypologySettings = field(default_factory=TypologySettings)


@dataclass(frozen=True)
class Planned:
    """A cell to be.

    Attributes:
        key: its folder below its target's; it says all that tells the target's cells apart.
        name: what it is called in tables.
        target: whose rows are scored.
        kind: ``merge``, ``ensemble``, ``source``, or ``baseline``.
        sources: the models in it, in order.
        weights: source -> weight, where there are weights.
        method: the merge method, or which baseline.
        parameters: the method's parameters where they are not its defaults.
        preweight: where the weights come from.
        vote: the voting method.
        seed: of what draws.
        similarities: source -> the target's raw similarity to it.
    """

    key: str
    name: str
    target: str
    kind: str
    sources: tuple[str, ...]
    weights: Mapping[str, float] = field(default_factory=dict)
    method: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    preweight: str | None = None
    vote: str | None = None
    seed: int | None = None
    similarities: Mapping[str, float] = field(default_factory=dict)


def list_modes() -> str:
    """Every mode with the weight source and method that it stands for, a line each."""
    rows = {BASELINE_MODE: ("", "native: the target's own model")}
    rows |= {name: (weights or "--preweights", method) for name, (weights, method) in modes().items()}
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {weights:<12}  {method}" for name, (weights, method) in rows.items())


def check_grid(grid: Grid, *, has_base: bool, has_joint: bool) -> None:
    """Checks every name and number of a grid.

    Raises:
        UserError: an unknown name, with the nearest ones; a number out of range; a base or joint model missing; or a
            grid without cells.
    """
    for tag in (*grid.targets, *(grid.sources or ())):
        locale(tag)
    _each_known("weight source", grid.preweights, WEIGHT_SOURCES)
    _each_known("voting method", grid.votes, VOTES)
    _each_known("baseline", grid.baselines, BASELINES)
    _each_known("mode", grid.modes, (*modes(), BASELINE_MODE))
    if "manual" in (*grid.preweights, *grid.modes):
        raise UserError("manual weights are of one target: a sweep takes them from uriel, equal or shuffled")
    for what, numbers, least in (("num_languages", grid.num_languages, 1), ("seeds", grid.seeds, 0)):
        if not numbers or any(not isinstance(n, int) or isinstance(n, bool) or n < least for n in numbers):
            raise UserError(f"{what} must be whole numbers of at least {least}, not {list(numbers)}")
    if not grid.targets:
        raise UserError("no targets: name them with target_languages")
    _no_doubles("target", grid.targets)
    if not (grid.methods or grid.modes or grid.votes or grid.baselines):
        raise UserError("nothing to sweep over: name methods, modes, voting_methods or baselines")
    if (grid.methods or grid.votes) and not grid.preweights:
        raise UserError(f"methods and voting_methods need preweights: {', '.join(WEIGHT_SOURCES)}")
    if "joint" in grid.baselines and not has_joint:
        raise UserError("the baseline joint needs joint_model: the folder of a model of several locales")
    for method, parameters, _ in _merges(grid):
        count = max(_sources_of(method, max(grid.num_languages)), method.min_sources)
        names = [f"source {number}" for number in range(count)]
        plan_job(
            method,
            dict.fromkeys(names, 1.0 / count),
            names,
            has_base=has_base,
            has_statistics=bool(method.needs_statistics),
            parameters=parameters,
        )
        for number in grid.num_languages:
            if number < method.min_sources:
                raise UserError(f"{method.name} merges at least {method.min_sources} sources, not {number}")


def needs_base(grid: Grid) -> list[str]:
    """The grid's methods that work on task vectors."""
    return sorted({method.name for method, _, _ in _merges(grid) if method.needs_base})


def sources_of(grid: Grid, models: Sequence[str]) -> tuple[str, ...]:
    """The locales that can be sources; raises UserError where one that is named has no model."""
    missing = [tag for tag in grid.sources or () if tag not in models]
    if missing:
        raise UserError(f"no source model for {', '.join(missing)}; available: {', '.join(sorted(models))}")
    return tuple(models if grid.sources is None else grid.sources)


def expand(grid: Grid, models: Sequence[str]) -> list[Planned]:
    """The cells of a checked grid, target by target.

    Args:
        grid: what is asked.
        models: the locales that have a source model.

    Raises:
        UserError: sources that have no model, or a target with fewer sources than are asked for.
    """
    available = sources_of(grid, models)
    found: dict[tuple[str, str], Planned] = {}
    for target in grid.targets:
        for cell in _target_cells(grid, target, available, models):
            found.setdefault((target, cell.key), cell)
    return list(found.values())


def _target_cells(grid: Grid, target: str, available: Sequence[str], models: Sequence[str]) -> list[Planned]:
    plans: dict[int, SourcePlan] = {}

    def sources(number: int) -> SourcePlan:
        if number not in plans:
            plans[number] = plan_sources(target, available=available, num_languages=number, settings=grid.typology)
        return plans[number]

    cells, used = [], dict[str, None]()
    if ("native" in grid.baselines or BASELINE_MODE in grid.modes) and target in models:
        cells.append(Planned("native", "native", target, "baseline", (target,), method="native"))
    if "joint" in grid.baselines:
        cells.append(Planned("joint", "joint multilingual", target, "baseline", ("joint",), method="joint"))
    for number in grid.num_languages:
        for method, parameters, preweight in _merges(grid):
            plan = sources(_sources_of(method, number))
            draws = preweight == "shuffled" or method.random
            for seed in grid.seeds if draws else grid.seeds[:1]:
                cells.append(_merge(plan, method, parameters, preweight, seed, draws))
            used |= dict.fromkeys(plan.sources)
        for vote in grid.votes:
            for preweight in grid.preweights if vote != "majority" else grid.preweights[:1]:
                for seed in grid.seeds if preweight == "shuffled" and vote != "majority" else grid.seeds[:1]:
                    cells.append(_ensemble(sources(number), vote, preweight, seed))
            used |= dict.fromkeys(sources(number).sources)
        if not used and "sources" in grid.baselines:
            used |= dict.fromkeys(sources(number).sources)
    alone = [*used] if "sources" in grid.baselines else []
    if "zero_shot" in grid.baselines:
        alone = list(dict.fromkeys([*alone, *(tag for tag in models if tag != target)]))
    return [*cells, *(Planned(f"source_{tag}", f"source {tag}", target, "source", (tag,)) for tag in alone)]


def _merge(
    plan: SourcePlan, method: Method, parameters: Mapping[str, Any], preweight: str | None, seed: int, draws: bool
) -> Planned:
    label = "_".join([method.name, *(f"{name}-{value}" for name, value in sorted(parameters.items()))])
    parts = [label, preweight, f"n{len(plan.sources)}", f"seed{seed}" if draws else None]
    shown = f" ({', '.join(f'{name} {value}' for name, value in sorted(parameters.items()))})" if parameters else ""
    return Planned(
        key="_".join(["merge", *(part for part in parts if part)]).replace("/", "-"),
        name=f"{method.name}{shown}" + (f", {preweight} weights" if preweight else ""),
        target=plan.target,
        kind="merge",
        sources=plan.sources,
        weights=reweighted(plan, preweight or "equal", seed),
        method=method.name,
        parameters=dict(parameters),
        preweight=preweight,
        seed=seed,
        similarities=plan.similarities,
    )


def _ensemble(plan: SourcePlan, vote: str, preweight: str, seed: int) -> Planned:
    weighs = vote != "majority"
    own = preweight if weighs else None
    parts = [vote, own, f"n{len(plan.sources)}", f"seed{seed}" if own == "shuffled" else None]
    return Planned(
        key="_".join(["ensemble", *(part for part in parts if part)]),
        name=f"ensemble, {vote}" + (f", {own} weights" if own else ""),
        target=plan.target,
        kind="ensemble",
        sources=plan.sources,
        weights=reweighted(plan, own or "equal", seed),
        preweight=own,
        vote=vote,
        seed=seed,
        similarities=plan.similarities,
    )


def _merges(grid: Grid) -> list[tuple[Method, dict[str, Any], str | None]]:
    """Every method with its parameters and weight source, each once."""
    pairs: list[tuple[str, dict[str, Any], str]] = []
    for entry in grid.methods:
        name, parameters = _method(entry)
        pairs += [(name, parameters, preweight) for preweight in grid.preweights]
    for mode in grid.modes:
        if mode != BASELINE_MODE:
            preweight, name = modes()[mode]
            pairs += [(name, {}, each) for each in ([preweight] if preweight else grid.preweights)]
    pairs += [("linear", {}, "equal")] * ("equal" in grid.baselines)
    pairs += [("linear", {}, "shuffled")] * ("shuffled" in grid.baselines)
    found: list[tuple[Method, dict[str, Any], str | None]] = []
    for name, parameters, preweight in pairs:
        method = find_method(name)
        one = (method, parameters, preweight if method.takes_weights else None)
        if one not in found:
            found.append(one)
    return found


def _method(entry: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    for key in entry:
        if key not in ("method", "parameters"):
            raise unknown("key of a method", str(key), ("method", "parameters"))
    if "method" not in entry:
        raise UserError(f"a method in the grid is a name, or a mapping with 'method' and 'parameters', not {entry}")
    return str(entry["method"]), dict(entry.get("parameters") or {})


def _sources_of(method: Method, number: int) -> int:
    return number if method.max_sources is None else min(number, method.max_sources)


def _each_known(kind: str, names: Sequence[str], known: Any) -> None:
    for name in names:
        if name not in known:
            raise unknown(kind, str(name), known)


def _no_doubles(kind: str, names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UserError(f"the {kind} {name} is named twice")
