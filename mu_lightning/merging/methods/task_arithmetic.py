"""Task arithmetic: the scaled sum of the task vectors, on the base.

Ilharco et al., Editing models with task arithmetic, 2022. https://arxiv.org/abs/2212.04089
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Method, Piece
from mu_lightning.merging.parameters import option
from mu_lightning.merging.task_vectors import added, task_vectors, weighted_sum
from mu_lightning.merging.weighting import MEAN, RAW, SUM, WEIGHTING_HELP, scaled_weights


@dataclass(frozen=True)
class TaskArithmetic:
    """Parameters of task arithmetic; 0.4 is what the paper recommends where there is nothing to tune on."""

    scaling: float = option(0.4, "factor of the merged task vector (the paper's λ)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


def task_arithmetic(piece: Piece, parameters: TaskArithmetic) -> torch.Tensor:
    """θ_base + λ Σ w_i τ_i, of the piece's shape."""
    factors = scaled_weights(piece.weights, parameters.weighting)
    return added(piece, weighted_sum(task_vectors(piece), factors), parameters.scaling)


METHOD = Method(
    name="task_arithmetic",
    summary="scaled sum of the task vectors, on the base",
    paper="Ilharco et al., Editing models with task arithmetic, 2022",
    url="https://arxiv.org/abs/2212.04089",
    combine=task_arithmetic,
    parameters=TaskArithmetic,
    local=True,
    needs_base=True,
)
