"""Declared spaces: the approaches among which tuning chooses.

A candidate is an approach with all of its parameters. To add a space, add a function and a line in `SPACES`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mu_lightning.approaches.ensemble import UNWEIGHTED, Ensemble
from mu_lightning.approaches.one_shot import OneShot
from mu_lightning.merging.methods.shared.scaling import SCALE
from mu_lightning.models.votes import VOTES
from mu_lightning.settings import TypologySettings

Candidate = OneShot | Ensemble

NUMBERS = (1, 3, 5, 10)  # of sources, besides all
TEMPERATURES = (None, 0.02, 0.05, 0.1)  # of the softmax over similarities; None: equal weights
SCALES = (1.0, 1.3, 1.6, 2.0)
ALL_RANKS = 10_000  # top-k that excludes no candidate


@dataclass(frozen=True)
class Space:
    """A space of candidates.

    Attributes:
        candidates: number of sources to choose from, similarity settings -> the candidates; of candidates that do
            equally well the first is taken.
        needs_base: whether some candidate needs the base model.
    """

    candidates: Callable[[int, TypologySettings], list[Candidate]]
    needs_base: bool


def merges(pool: int, typology: TypologySettings) -> list[Candidate]:
    """One-shot merges: averages of various sharpness and scale, the nearest source alone, and TIES."""
    found: list[Candidate] = []
    for shared in _weighings(pool, typology):
        single = shared["num_languages"] == 1
        found += [OneShot(parameters=_scale(scale), **shared) for scale in (SCALES[:1] if single else SCALES)]
    for number in _numbers(pool)[1:]:
        for scaling in SCALES[:3]:
            parameters = {} if scaling == 1 else {"scaling": scaling}
            found.append(OneShot(number, "equal", typology=typology, method="ties", parameters=parameters))
    return found


def votes(pool: int, typology: TypologySettings) -> list[Candidate]:
    """Every vote, weighted by similarity of various sharpness."""
    found: list[Candidate] = []
    for shared in _weighings(pool, typology):
        plain = shared["preweight"] == "equal"
        found += [Ensemble(vote_method=vote, **shared) for vote in VOTES if plain or vote not in UNWEIGHTED]
    return found


SPACES: dict[str, Space] = {"merge": Space(merges, needs_base=True), "vote": Space(votes, needs_base=False)}


def described(candidate: Candidate) -> str:
    """A candidate in a few words: its label, the sharpness of its weights, and its number of sources."""
    sharpness = "" if candidate.preweight == "equal" else f" at temperature {candidate.typology.temperature:g}"
    number = candidate.num_languages
    counted = "all sources" if number is None else "the nearest source" if number == 1 else f"{number} sources"
    return f"{candidate.label()}{sharpness}, {counted}"


def unscaled(candidate: OneShot) -> tuple[OneShot, float]:
    """The candidate whose merged task vector has the factor 1, and the factor."""
    name = "scaling" if candidate.method == "ties" else SCALE
    parameters = {key: value for key, value in candidate.parameters.items() if key != name}
    return replace(candidate, parameters=parameters), float(candidate.parameters.get(name, 1.0))


def _numbers(pool: int) -> list[int | None]:
    # A source that is left out has one source less to choose from than the target.
    return [*(number for number in NUMBERS if number < pool - 1), None]


def _weighings(pool: int, typology: TypologySettings) -> list[dict[str, Any]]:
    """Number of sources, weight source and temperature of each way to weigh sources."""
    plain = replace(typology, weighting="softmax", temperature=None, sinkhorn_iters=None, top_k=ALL_RANKS)
    found = []
    for number in _numbers(pool):
        for temperature in TEMPERATURES[:1] if number == 1 else TEMPERATURES:
            if temperature is None:
                found.append({"num_languages": number, "preweight": "equal", "typology": plain})
            else:
                own = replace(plain, temperature=temperature)
                found.append({"num_languages": number, "preweight": "uriel", "typology": own})
    return found


def _scale(scale: float) -> dict[str, float]:
    return {} if scale == 1 else {"scale": scale}
