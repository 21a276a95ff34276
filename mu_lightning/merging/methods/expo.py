"""ExPO: the average of the models, extrapolated further away from the base.

Zheng et al., Weak-to-Strong Extrapolation Expedites Alignment, 2024. https://arxiv.org/abs/2404.16792
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors, weighted_sum
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, scaled_weights


@dataclass(frozen=True)
class Expo:
    """Parameters of ExPO."""

    extrapolation: float = option(0.1, "extrapolation factor (the paper's α)")
    weighting: str = option(MEAN, "mean: weights sum to 1; raw: as given", choices=(MEAN, RAW))


def expo(chunk: Chunk, parameters: Expo) -> torch.Tensor:
    """Computes θ_base + (1 + α) Σ w_i τ_i."""
    factors = scaled_weights(chunk.weights, parameters.weighting)
    return added(chunk, weighted_sum(task_vectors(chunk), factors), 1 + parameters.extrapolation)


METHOD = Method(
    name="expo",
    summary="weighted average of the models, extrapolated away from the base",
    paper="Zheng et al., Weak-to-Strong Extrapolation (ExPO), 2024",
    url="https://arxiv.org/abs/2404.16792",
    combine=expo,
    parameters=Expo,
    preserves_base_rows=True,
    needs_base=True,
)
