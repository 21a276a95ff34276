"""Weightings: how the similarities of a target to its sources become weights.

To add a weighting, add a function and a line in `WEIGHTINGS`, and its default temperature in
`mu_lightning.settings.typology.TEMPERATURES`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from mu_lightning.settings import TypologySettings
from mu_lightning.typology.similarity import SimilarityMatrix
from mu_lightning.typology.sinkhorn import check_temperature, normalize
from mu_lightning.utilities.errors import UserError, unknown


@dataclass(frozen=True)
class Weighed:
    """Sources with their typological weights.

    Attributes:
        weights: source -> weight, not negative; only their ratios matter.
        column_residual: of ``sinkhorn``: maximum distance of a column sum from 1; None for others.
    """

    weights: dict[str, float]
    column_residual: float | None = None


Weighting = Callable[[SimilarityMatrix, str, tuple[str, ...], TypologySettings], Weighed]


def _softmax(matrix: SimilarityMatrix, target: str, sources: tuple[str, ...], settings: TypologySettings) -> Weighed:
    temperature = check_temperature(settings.temperature)
    found = {tag: matrix.similarity(target, tag) for tag in sources}
    largest = max(found.values())
    return Weighed({tag: math.exp((value - largest) / temperature) for tag, value in found.items()})


def _proportional(
    matrix: SimilarityMatrix, target: str, sources: tuple[str, ...], settings: TypologySettings
) -> Weighed:
    temperature = check_temperature(settings.temperature)
    found = {tag: matrix.similarity(target, tag) for tag in sources}
    largest = max(found.values()) or 1.0  # relative to the maximum, to avoid underflow; the factor cancels
    return Weighed({tag: (value / largest) ** (1.0 / temperature) for tag, value in found.items()})


def _sinkhorn(matrix: SimilarityMatrix, target: str, sources: tuple[str, ...], settings: TypologySettings) -> Weighed:
    iterations, temperature = settings.sinkhorn_iters, check_temperature(settings.temperature)
    assert iterations is not None  # the settings resolve it
    normal = normalize(matrix, settings.top_k, iterations, temperature, keep={target: sources})
    row = normal.values[matrix.index(target)]
    return Weighed({tag: float(row[matrix.index(tag)]) for tag in sources}, normal.column_residual)


WEIGHTINGS: dict[str, Weighting] = {
    "softmax": _softmax,  # exp(s / temperature) over the sources
    "proportional": _proportional,  # s^(1 / temperature) over the sources
    "sinkhorn": _sinkhorn,  # the target's row of the top-k filtered, alternately normalized matrix
}


def weighed(matrix: SimilarityMatrix, target: str, sources: tuple[str, ...], settings: TypologySettings) -> Weighed:
    """Computes the typological weights of sources by the weighting of the settings.

    Args:
        matrix: similarities; it has the target and all sources.
        target: the target locale.
        sources: source locales, in order.
        settings: weighting, temperature and, for ``sinkhorn``, top-k and iterations.

    Raises:
        UserError: an unknown weighting, a setting out of range or of another weighting, or weights that are all 0.
    """
    name = str(settings.weighting)
    if name not in WEIGHTINGS:
        raise unknown("weighting", name, WEIGHTINGS)
    if settings.sinkhorn_iters is not None and name != "sinkhorn":
        raise UserError(
            f"Sinkhorn iterations ({settings.sinkhorn_iters}) are given, but the weighting is {name}: remove "
            "--sinkhorn-iters, or use --weighting sinkhorn"
        )
    found = WEIGHTINGS[name](matrix, target, sources, settings)
    if not any(found.weights.values()):
        raise UserError(
            f"the typological weights of {', '.join(sources)} for {target} are all 0 at temperature "
            f"{settings.temperature:g}: raise it or choose other sources"
        )
    return found


def describe(settings: TypologySettings, column_residual: float | None) -> str:
    """Names a weighting with its settings, for tables."""
    if settings.sinkhorn_iters is None:
        return f"{settings.weighting}, temperature {settings.temperature:g}"
    residual = "" if column_residual is None else f"; column residual {column_residual:.1e}"
    return (
        f"{settings.weighting}, top-k {settings.top_k}, {settings.sinkhorn_iters} rounds, temperature "
        f"{settings.temperature:g}{residual}"
    )
