"""DELLA-Merging: magnitude-based random dropping, rescaling, sign election and averaging.

Deep, Bhardwaj and Poria, DELLA-Merging: Reducing Interference in Model Merging through Magnitude-Based Sampling, 2024.
https://arxiv.org/abs/2406.11617
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import for_each, option
from mu_lightning.merging.methods.shared.random_masks import random_mask
from mu_lightning.merging.methods.shared.task_vectors import AVERAGE, TOTAL, added, elected, task_vectors, weighted_sum
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, SUM, WEIGHTING_HELP, scaled_weights
from mu_lightning.utilities.errors import UserError

PAPER = "Deep et al., DELLA-Merging, 2024"
URL = "https://arxiv.org/abs/2406.11617"


@dataclass(frozen=True)
class DellaLinear:
    """Parameters of DELLA without sign election."""

    density: float | Sequence[float] = option(
        0.5, "mean keep probability (1 minus the paper's drop rate p)", low=0, high=1, per_source=True
    )
    window: float | Sequence[float] = option(
        0.2, "range of the keep probabilities within a row (ε)", low=0, high=1, per_source=True
    )
    rescale: bool = option(True, "divide kept elements by their keep probability")
    scaling: float = option(0.4, "factor of the merged task vector (the paper's λ)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


@dataclass(frozen=True)
class Della(DellaLinear):
    """Parameters of DELLA."""

    scaling: float = option(1.0, "factor of the merged task vector (the paper's λ)")
    consensus: str = option(AVERAGE, "merge agreeing sources by their average or their total", choices=(AVERAGE, TOTAL))


def keep_probabilities(vector: torch.Tensor, density: float, window: float) -> torch.Tensor:
    """Keep probability of each element, by the rank of its magnitude in the row: density − ε/2 to density + ε/2."""
    count = vector.shape[-1]
    order = _ascending(vector.abs())
    places = torch.arange(count, device=vector.device).expand_as(order)
    ranks = torch.empty_like(order).scatter_(-1, order, places).to(vector.dtype)
    return ranks.mul_(window / max(count - 1, 1)).add_(density - window / 2 * (count > 1))


def _ascending(magnitude: torch.Tensor) -> torch.Tensor:
    # On a CPU, NumPy sorts rows several times faster than torch.
    if magnitude.device.type == "cpu":
        return torch.from_numpy(np.argsort(magnitude.numpy(), -1))
    return magnitude.argsort()


def sampled(chunk: Chunk, parameters: DellaLinear) -> list[torch.Tensor]:
    """Drops elements of the task vectors by magnitude rank (MagPrune) and rescales the rest."""
    vectors = task_vectors(chunk)
    count = len(vectors)
    pairs = zip(for_each(parameters.density, count), for_each(parameters.window, count), strict=True)
    for index, (density, window) in enumerate(pairs):
        vector = vectors[index]
        if density >= 1 or vector.dim() == 0:
            continue
        if density - window / 2 < 0 or density + window / 2 > 1 or density == 0:
            raise UserError(f"density {density:g} with a window of {window:g}: keep probabilities would leave 0..1")
        probability = keep_probabilities(vector, density, window)
        vector.mul_(random_mask(chunk, index, probability))
        if parameters.rescale:
            vector.div_(probability.clamp_(min=2**-16))
    return vectors


def della_linear(chunk: Chunk, parameters: DellaLinear) -> torch.Tensor:
    """Samples, then applies task arithmetic."""
    factors = scaled_weights(chunk.weights, parameters.weighting)
    return added(chunk, weighted_sum(sampled(chunk, parameters), factors), parameters.scaling)


def della(chunk: Chunk, parameters: Della) -> torch.Tensor:
    """Drop, elect, fuse."""
    factors = scaled_weights(chunk.weights, parameters.weighting)
    return added(chunk, elected(sampled(chunk, parameters), factors, parameters.consensus), parameters.scaling)


METHODS = [
    Method(
        name="della",
        summary="randomly drop elements, small ones more often, rescale, elect signs, average agreeing elements",
        paper=PAPER,
        url=URL,
        combine=della,
        parameters=Della,
        granularity="rows",
        preserves_base_rows=True,
        needs_base=True,
        random=True,
    ),
    Method(
        name="della_linear",
        summary="randomly drop elements, small ones more often, rescale, add them to the base",
        paper=PAPER,
        url=URL,
        combine=della_linear,
        parameters=DellaLinear,
        granularity="rows",
        preserves_base_rows=True,
        needs_base=True,
        random=True,
    ),
]
