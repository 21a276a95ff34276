"""AdaMerging: task arithmetic with a coefficient for each source, or each source and layer, that was learned.

Yang et al., AdaMerging: Adaptive Model Merging for Multi-Task Learning, 2023. https://arxiv.org/abs/2310.02575
The coefficients minimise the entropy of the merged model's predictions on unlabelled text; whoever learns them on a
target's text must say so in the results (`target-unlabelled`).
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
    """How AdaMerging's coefficients are learned, with the paper's defaults; the merge itself only takes them."""

    coefficients: str = option(
        LAYER, "one for each source and tensor (layer-wise), or for each source (task-wise)", choices=(LAYER, TASK)
    )
    iterations: int = option(500, "steps of Adam, a batch of 16 texts each", low=1)
    learning_rate: float = option(1e-3, "Adam's step size", low=0)
    initial: float = option(0.3, "where every coefficient starts")


def adamerging(chunk: Chunk, parameters: AdaMerging) -> torch.Tensor:
    """θ_base + Σ λ_i τ_i, of the chunk's shape. `chunk.statistics` holds each source's λ for the tensor, one number.

    Raises:
        UserError: a source has no coefficient for the tensor, or more than one.
    """
    coefficients = []
    for each in chunk.statistics or ():
        if each is None or each.numel() != 1:
            raise UserError(f"{chunk.name}: AdaMerging needs one coefficient of every source")
        coefficients.append(each.item())
    return added(chunk, weighted_sum(task_vectors(chunk), coefficients), 1.0)


METHOD = Method(
    name="adamerging",
    summary="sum of the task vectors with learned coefficients, by source or by source and layer, on the base",
    paper="Yang et al., AdaMerging, 2023",
    url="https://arxiv.org/abs/2310.02575",
    combine=adamerging,
    parameters=AdaMerging,
    preserves_base_rows=True,
    needs_base=True,
    takes_weights=False,
    needs_statistics="the learned coefficients, by tensor,",
)
