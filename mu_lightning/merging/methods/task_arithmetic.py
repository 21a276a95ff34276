"""Task arithmetic: adds the scaled sum of the task vectors to the base.

Ilharco et al., Editing models with task arithmetic, 2022. https://arxiv.org/abs/2212.04089
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mu_lightning.merging.method import Chunk, Method, base_of
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, SUM, WEIGHTING_HELP, moved, scaled_weights

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class TaskArithmetic:
    """Parameters of task arithmetic; the paper recommends 0.4 if the scaling cannot be tuned."""

    scaling: float = option(0.4, "factor of the merged task vector (the paper's λ)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


def task_arithmetic(chunk: Chunk, parameters: TaskArithmetic) -> "torch.Tensor":
    """Computes θ_base + λ Σ w_i τ_i."""
    factors = [parameters.scaling * factor for factor in scaled_weights(chunk.weights, parameters.weighting)]
    merged: torch.Tensor = moved(base_of(chunk), chunk.sources, factors)
    return merged


METHOD = Method(
    name="task_arithmetic",
    summary="base plus the scaled sum of the task vectors",
    paper="Ilharco et al., Editing models with task arithmetic, 2022",
    url="https://arxiv.org/abs/2212.04089",
    combine=task_arithmetic,
    parameters=TaskArithmetic,
    preserves_base_rows=True,
    propagates_nonfinite=True,
    numpy_compatible=True,
    needs_base=True,
)
