"""ExPO: the average of the models, extrapolated further away from the base.

Zheng et al., Weak-to-Strong Extrapolation Expedites Alignment, 2024. https://arxiv.org/abs/2404.16792
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Method, Piece
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors, weighted_sum
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, scaled_weights


@dataclass(frozen=True)
class Expo:
    """Parameters of ExPO."""

    extrapolation: float = option(0.1, "how far beyond the average, in distances from the base (the paper's α)")
    weighting: str = option(MEAN, "mean: weights sum to 1; raw: as given", choices=(MEAN, RAW))


def expo(piece: Piece, parameters: Expo) -> torch.Tensor:
    """θ_base + (1 + α) Σ w_i τ_i, of the piece's shape."""
    factors = scaled_weights(piece.weights, parameters.weighting)
    return added(piece, weighted_sum(task_vectors(piece), factors), 1 + parameters.extrapolation)


METHOD = Method(
    name="expo",
    summary="weighted average of the models, extrapolated away from the base",
    paper="Zheng et al., Weak-to-Strong Extrapolation (ExPO), 2024",
    url="https://arxiv.org/abs/2404.16792",
    combine=expo,
    parameters=Expo,
    local=True,
    needs_base=True,
)
