"""Model Breadcrumbs: task vectors without their largest elements (outliers) and without the many small ones.

Davari and Belilovsky, Model Breadcrumbs: Scaling Multi-Task Model Merging with Sparse Masks, 2023.
https://arxiv.org/abs/2312.06795
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method
from mu_lightning.merging.method_parameters import for_each, option
from mu_lightning.merging.methods.shared.order_statistics import each_kth_largest
from mu_lightning.merging.methods.shared.task_vectors import (
    AVERAGE,
    TOTAL,
    added,
    at_least,
    elected,
    task_vectors,
    weighted_sum,
)
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, SUM, WEIGHTING_HELP, scaled_weights

PAPER = "Davari and Belilovsky, Model Breadcrumbs, 2023"
URL = "https://arxiv.org/abs/2312.06795"


@dataclass(frozen=True)
class Breadcrumbs:
    """Parameters of Breadcrumbs: the paper masks below the 85th percentile (β) and above the 99.3rd (γ)."""

    density: float | Sequence[float] = option(
        0.143, "share of each tensor that is kept", low=0, high=1, per_source=True
    )
    outliers: float | Sequence[float] = option(
        0.007, "share of each tensor, the largest elements, that is left out", low=0, high=1, per_source=True
    )
    scaling: float = option(0.3, "factor of the merged task vector (the paper's α)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


@dataclass(frozen=True)
class BreadcrumbsTies(Breadcrumbs):
    """Parameters of Breadcrumbs with TIES' election of signs."""

    scaling: float = option(1.0, "factor of the merged task vector")
    consensus: str = option(
        AVERAGE, "of the sources that agree with the elected sign: average or total", choices=(AVERAGE, TOTAL)
    )


def bounds(chunks: Chunks, parameters: Breadcrumbs) -> Sequence[tuple[float, float]]:
    """For each source the smallest magnitude that is kept and the smallest that is an outlier."""
    ranks, everything = [], (0.0, math.inf)
    densities, outliers = (for_each(value, chunks.sources) for value in (parameters.density, parameters.outliers))
    for density, share in zip(densities, outliers, strict=True):
        kept = int(density * chunks.total)
        # As many as the density says are kept, even where too few elements remain for all the outliers.
        left_out = min(int(share * chunks.total), chunks.total - kept)
        ranks.append([left_out + kept, left_out])
    if min(densities) >= 1:
        return [everything] * chunks.sources
    found = each_kth_largest(chunks, lambda chunk, chosen: task_vectors(chunk), ranks)
    return [
        everything if density >= 1 else (low if low_rank > high_rank else math.inf, high)
        for density, (low, high), (low_rank, high_rank) in zip(densities, found, ranks, strict=True)
    ]


def masked(chunk: Chunk) -> list[torch.Tensor]:
    """The task vectors without their outliers and their small elements."""
    return [
        at_least(vector, low).sub_(at_least(vector, high))
        for vector, (low, high) in zip(task_vectors(chunk), chunk.global_statistics, strict=True)
    ]


def breadcrumbs(chunk: Chunk, parameters: Breadcrumbs) -> torch.Tensor:
    """The scaled sum of the masked task vectors on the base, of the chunk's shape."""
    factors = scaled_weights(chunk.weights, parameters.weighting)
    return added(chunk, weighted_sum(masked(chunk), factors), parameters.scaling)


def breadcrumbs_ties(chunk: Chunk, parameters: BreadcrumbsTies) -> torch.Tensor:
    """The masked task vectors merged by TIES' election, of the chunk's shape."""
    factors = scaled_weights(chunk.weights, parameters.weighting)
    return added(chunk, elected(masked(chunk), factors, parameters.consensus), parameters.scaling)


METHODS = [
    Method(
        name="breadcrumbs",
        summary="sum of the task vectors without outliers and small elements, on the base",
        paper=PAPER,
        url=URL,
        combine=breadcrumbs,
        parameters=Breadcrumbs,
        global_statistics=bounds,
        uses_order_statistics=True,
        preserves_base_rows=True,
        needs_base=True,
    ),
    Method(
        name="breadcrumbs_ties",
        summary="task vectors without outliers and small elements, merged by TIES' election of signs",
        paper=PAPER,
        url=URL,
        combine=breadcrumbs_ties,
        parameters=BreadcrumbsTies,
        global_statistics=bounds,
        uses_order_statistics=True,
        preserves_base_rows=True,
        needs_base=True,
    ),
]
