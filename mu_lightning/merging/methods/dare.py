"""DARE: randomly drops elements of each task vector, rescales the rest, and merges by task arithmetic or TIES.

Yu et al., Language Models are Super Mario: Absorbing Abilities from Homologous Models as a Free Lunch, 2023.
https://arxiv.org/abs/2311.03099
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method
from mu_lightning.merging.method_parameters import for_each, option
from mu_lightning.merging.methods.shared.random_masks import keep_probability, random_mask
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
from mu_lightning.merging.methods.ties import SCOPE_HELP, scope, trim_thresholds

PAPER = "Yu et al., Language Models are Super Mario (DARE), 2023"
URL = "https://arxiv.org/abs/2311.03099"
DENSITY_HELP = "keep probability (1 minus the paper's drop rate p)"
RESCALE_HELP = "divide kept elements by the keep probability (the paper's 1 / (1 - p))"


@dataclass(frozen=True)
class DareLinear:
    """Parameters of DARE with task arithmetic."""

    density: float | Sequence[float] = option(0.5, DENSITY_HELP, low=0, high=1, per_source=True, model_wide=True)
    rescale: bool = option(True, RESCALE_HELP)
    scaling: float = option(0.4, "factor of the merged task vector (λ)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


@dataclass(frozen=True)
class DareTies:
    """Parameters of DARE with TIES; ``trim=1`` disables TIES trimming, as in mergekit."""

    density: float | Sequence[float] = option(0.5, DENSITY_HELP, low=0, high=1, per_source=True, model_wide=True)
    rescale: bool = option(True, RESCALE_HELP, model_wide=True)
    trim: float = option(
        0.2,
        "share of the largest elements that TIES trimming keeps",
        low=0,
        high=1,
        model_wide=True,
    )
    scope: str = option("model", SCOPE_HELP, choices=("model", "tensor"))
    consensus: str = option(AVERAGE, "merge agreeing sources by their average or their total", choices=(AVERAGE, TOTAL))
    scaling: float = option(1.0, "factor of the merged task vector (λ)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


def dropped(chunk: Chunk, density: float | Sequence[float], rescale: bool) -> list[torch.Tensor]:
    """Task vectors whose elements are kept with probability `density`, independently for each source."""
    vectors = task_vectors(chunk)
    for index, (vector, share) in enumerate(zip(vectors, for_each(density, len(vectors)), strict=True)):
        probability = keep_probability(share)
        if probability >= 1:
            continue
        vector.mul_(random_mask(chunk, index, probability))
        if rescale and probability > 0:
            vector.mul_(1 / probability)
    return vectors


def dare_linear(chunk: Chunk, parameters: DareLinear) -> torch.Tensor:
    """Drops and rescales, then applies task arithmetic."""
    factors = scaled_weights(chunk.weights, parameters.weighting)
    vectors = dropped(chunk, parameters.density, parameters.rescale)
    return added(chunk, weighted_sum(vectors, factors), parameters.scaling)


def thresholds(chunks: Chunks, parameters: DareTies) -> Sequence[float]:
    """Magnitude threshold of TIES trimming for each source, over the elements that were not dropped."""
    densities = for_each(parameters.density, chunks.sources)

    def vectors(chunk: Chunk, chosen: Sequence[int]) -> list[torch.Tensor]:
        return dropped(chunk, [densities[index] for index in chosen], parameters.rescale)

    return trim_thresholds(chunks, vectors, parameters.trim)


def dare_ties(chunk: Chunk, parameters: DareTies) -> torch.Tensor:
    """Drops and rescales, then applies TIES (trim, elect, merge)."""
    factors = scaled_weights(chunk.weights, parameters.weighting)
    vectors = dropped(chunk, parameters.density, parameters.rescale)
    vectors = [at_least(*pair) for pair in zip(vectors, chunk.global_statistics, strict=True)]
    return added(chunk, elected(vectors, factors, parameters.consensus), parameters.scaling)


METHODS = [
    Method(
        name="dare_linear",
        summary="randomly drop elements of the task vectors, rescale the rest, add them to the base",
        paper=PAPER,
        url=URL,
        combine=dare_linear,
        parameters=DareLinear,
        preserves_base_rows=True,
        needs_base=True,
        random=True,
    ),
    Method(
        name="dare_ties",
        summary="randomly drop elements of the task vectors, rescale the rest, merge them by TIES",
        paper=PAPER,
        url=URL,
        combine=dare_ties,
        parameters=DareTies,
        global_statistics=thresholds,
        uses_order_statistics=True,
        statistics_scope=scope,
        preserves_base_rows=True,
        needs_base=True,
        random=True,
    ),
]
