"""Weight sources: typology, equal, manual, and shuffled (the control).

To add a weight source, add a function and a line in `WEIGHT_SOURCES`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mu_lightning.utilities.errors import UserError, unknown


@dataclass(frozen=True)
class WeightRequest:
    """Input of a weight source.

    Attributes:
        target: the target locale.
        sources: source locales, in order.
        uriel: typological weight of each source.
        manual: weights of the user, if given.
        seed: random seed.
    """

    target: str
    sources: tuple[str, ...]
    uriel: Mapping[str, float]
    manual: Mapping[str, float] | str | None = None
    seed: int = 0


WeightSource = Callable[[WeightRequest], Mapping[str, float]]


def _uriel(request: WeightRequest) -> Mapping[str, float]:
    return request.uriel


def _equal(request: WeightRequest) -> Mapping[str, float]:
    return dict.fromkeys(request.sources, 1.0)


def _manual(request: WeightRequest) -> Mapping[str, float]:
    if not request.manual:
        raise UserError("manual weights are asked for but none are given: --weights en-US=0.5,fr-FR=0.5")
    weights = parse_weights(request.manual)
    missing = [tag for tag in request.sources if tag not in weights]
    extra = [tag for tag in weights if tag not in request.sources]
    if missing or extra:
        problems = [f"no weight for {', '.join(missing)}"] if missing else []
        problems += [f"{', '.join(extra)} not among the sources ({', '.join(request.sources)})"] if extra else []
        raise UserError(f"the manual weights do not match the sources: {'; '.join(problems)}")
    return weights


def _shuffled(request: WeightRequest) -> Mapping[str, float]:
    weights = [request.uriel[tag] for tag in request.sources]
    # The target is part of the seed: a shared permutation would be a single sample for all targets.
    generator = np.random.default_rng([request.seed, *request.target.encode()])
    shuffled = weights
    while shuffled == weights and len(set(weights)) > 1:
        shuffled = [weights[index] for index in generator.permutation(len(weights))]
    return dict(zip(request.sources, shuffled, strict=True))


WEIGHT_SOURCES: dict[str, WeightSource] = {
    "uriel": _uriel,  # similarities turned into weights by a weighting, see `mu_lightning.typology.weightings`
    "equal": _equal,  # the same weight for every source: the baseline
    "manual": _manual,  # as given, normalized
    "shuffled": _shuffled,  # URIEL weights, randomly permuted: the control
}

TYPOLOGICAL = ("uriel", "shuffled")  # weight sources that a weighting affects


def source_weights(preweight: str, request: WeightRequest) -> dict[str, float]:
    """Computes the weights of the sources.

    Args:
        preweight: a name in `WEIGHT_SOURCES`.
        request: input of the weight source.

    Returns:
        Non-negative weights that sum to 1 within 1e-12, in the order of the sources.

    Raises:
        UserError: an unknown name, no sources, a negative seed, or weights that are missing, negative, not finite or
            all 0.
    """
    if preweight not in WEIGHT_SOURCES:
        raise unknown("weight source", preweight, WEIGHT_SOURCES)
    if not request.sources:
        raise UserError(f"no sources to weigh for {request.target}")
    if request.seed < 0:
        raise UserError(f"the seed must not be negative, as {request.seed} is")
    weights = WEIGHT_SOURCES[preweight](request)
    return normalized({tag: weights[tag] for tag in request.sources}, f"{preweight} weights")


def normalized(weights: Mapping[str, float], what: str = "weights") -> dict[str, float]:
    """Normalizes weights to sum to 1; raises UserError if one is negative or not finite, or all are 0."""
    for tag, weight in weights.items():
        if not math.isfinite(weight) or weight < 0:
            raise UserError(f"the {what} must be finite and not negative, but {tag} has {weight}")
    largest = max(weights.values(), default=0.0)
    if largest == 0:
        raise UserError(f"the {what} of {', '.join(weights) or 'no source'} are all 0 and cannot be normalized")
    scaled = {tag: weight / largest for tag, weight in weights.items()}  # avoids underflow and overflow
    total = math.fsum(scaled.values())
    return {tag: weight / total for tag, weight in scaled.items()}


def parse_weights(given: Mapping[str, float] | str) -> dict[str, float]:
    """Parses weights by locale, from a mapping or text such as ``"en-US=0.5,fr-FR=0.5"``.

    >>> parse_weights("en-US=3, fr-FR=1")
    {'en-US': 3.0, 'fr-FR': 1.0}

    Raises:
        UserError: invalid syntax, a repeated locale, or a weight that is not a number.
    """
    pairs: Iterable[tuple[str, float | str]]
    if isinstance(given, str):
        parts = [part for part in given.replace(",", " ").split() if part]
        broken = [part for part in parts if part.count("=") != 1 or part.startswith("=")]
        if broken or not parts:
            raise UserError(f"weights are written locale=number, as in en-US=0.5,fr-FR=0.5, not '{given}'")
        pairs = [(part.split("=")[0], part.split("=")[1]) for part in parts]
    else:
        pairs = given.items()
    weights: dict[str, float] = {}
    for tag, weight in pairs:
        if tag in weights:
            raise UserError(f"the weights name {tag} twice")
        try:
            weights[tag] = float(weight)
        except (TypeError, ValueError) as error:
            raise UserError(f"the weight of {tag} is not a number: '{weight}'") from error
    return weights
