"""AdaMerging: task arithmetic with learned coefficients for each source, or for each source and layer.

Yang et al., AdaMerging: Adaptive Model Merging for Multi-Task Learning, 2023. https://arxiv.org/abs/2310.02575
The coefficients minimize the entropy of the merged model's predictions on unlabeled text. Results whose coefficients
were learned on the target's text are marked `target-unlabelled`.
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors, weighted_sum
from mu_lightning.utilities.errors import UserError

LAYER, TASK = "layer", "task"


@dataclass(frozen=True)
class AdaMerging:
    """Parameters for learning AdaMerging's coefficients, with the paper's defaults."""

    coefficients: str = option(
        LAYER, "one per source and tensor (layer-wise), or one per source (task-wise)", choices=(LAYER, TASK)
    )
    iterations: int = option(500, "number of Adam steps, each on a batch of 16 texts", low=1)
    learning_rate: float = option(1e-3, "learning rate of Adam", low=0)
    initial: float = option(0.3, "initial value of the coefficients")


def adamerging(chunk: Chunk, parameters: AdaMerging) -> torch.Tensor:
    """Computes θ_base + Σ λ_i τ_i. `chunk.statistics` holds the scalar λ_i of each source for the tensor.

    Raises:
        UserError: a source does not have exactly one coefficient for the tensor.
    """
    coefficients = []
    for each in chunk.statistics or ():
        if each is None or each.numel() != 1:
            raise UserError(f"{chunk.name}: AdaMerging needs one coefficient of every source")
        coefficients.append(each.item())
    return added(chunk, weighted_sum(task_vectors(chunk), coefficients), 1.0)


METHOD = Method(
    name="adamerging",
    summary="base plus the sum of the task vectors with learned coefficients, by source or by source and layer",
    paper="Yang et al., AdaMerging, 2023",
    url="https://arxiv.org/abs/2310.02575",
    combine=adamerging,
    parameters=AdaMerging,
    preserves_base_rows=True,
    needs_base=True,
    takes_weights=False,
    needs_statistics="learned coefficients for each tensor",
)
