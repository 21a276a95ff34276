"""Model Breadcrumbs: removes the largest elements (outliers) and the small elements of each task vector.

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
        0.143, "share of the elements of each tensor to keep", low=0, high=1, per_source=True
    )
    outliers: float | Sequence[float] = option(
        0.007, "share of the elements of each tensor to remove as outliers", low=0, high=1, per_source=True
    )
    scaling: float = option(0.3, "factor of the merged task vector (the paper's α)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


@dataclass(frozen=True)
class BreadcrumbsTies(Breadcrumbs):
    """Parameters of Breadcrumbs with TIES sign election."""

    scaling: float = option(1.0, "factor of the merged task vector")
    consensus: str = option(AVERAGE, "merge agreeing sources by their average or their total", choices=(AVERAGE, TOTAL))


def bounds(chunks: Chunks, parameters: Breadcrumbs) -> Sequence[tuple[float, float]]:
    """Magnitude thresholds for each source: the smallest kept magnitude and the smallest outlier."""
    ranks, everything = [], (0.0, math.inf)
    densities, outliers = (for_each(value, chunks.sources) for value in (parameters.density, parameters.outliers))
    for density, share in zip(densities, outliers, strict=True):
        kept = int(density * chunks.total)
        # The density takes precedence if too few elements remain for the outliers.
        removed = min(int(share * chunks.total), chunks.total - kept)
        ranks.append([removed + kept, removed])
    if min(densities) >= 1:
        return [everything] * chunks.sources
    found = each_kth_largest(chunks, lambda chunk, chosen: task_vectors(chunk), ranks)
    return [
        everything if density >= 1 else (low if low_rank > high_rank else math.inf, high)
        for density, (low, high), (low_rank, high_rank) in zip(densities, found, ranks, strict=True)
    ]


def masked(chunk: Chunk) -> list[torch.Tensor]:
    """Task vectors without outliers and small elements."""
    return [
        at_least(vector, low).sub_(at_least(vector, high))
        for vector, (low, high) in zip(task_vectors(chunk), chunk.global_statistics, strict=True)
    ]


def breadcrumbs(chunk: Chunk, parameters: Breadcrumbs) -> torch.Tensor:
    """Adds the scaled sum of the masked task vectors to the base."""
    factors = scaled_weights(chunk.weights, parameters.weighting)
    return added(chunk, weighted_sum(masked(chunk), factors), parameters.scaling)


def breadcrumbs_ties(chunk: Chunk, parameters: BreadcrumbsTies) -> torch.Tensor:
    """Merges the masked task vectors by TIES sign election."""
    factors = scaled_weights(chunk.weights, parameters.weighting)
    return added(chunk, elected(masked(chunk), factors, parameters.consensus), parameters.scaling)


METHODS = [
    Method(
        name="breadcrumbs",
        summary="base plus the sum of the task vectors without outliers and small elements",
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
        summary="task vectors without outliers and small elements, merged by TIES sign election",
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
