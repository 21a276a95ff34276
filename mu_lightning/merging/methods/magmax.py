"""MagMax: selects, for each element, the task vector with the largest magnitude.

Marczak et al., MagMax: Leveraging Model Merging for Seamless Continual Learning, 2024. https://arxiv.org/abs/2407.06322
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors


@dataclass(frozen=True)
class MagMax:
    """Parameters of MagMax."""

    scaling: float = option(0.5, "factor of the merged task vector (the paper's λ)")


def magmax(chunk: Chunk, parameters: MagMax) -> torch.Tensor:
    """Computes θ_base + λ τ_{argmax |τ|}; ties between τ and −τ are resolved to the positive one."""
    vectors = task_vectors(chunk)
    largest = smallest = vectors[0]
    for vector in vectors[1:]:
        largest, smallest = torch.maximum(largest, vector), torch.minimum(smallest, vector)
    sign = torch.copysign(torch.ones((), dtype=largest.dtype, device=largest.device), largest + smallest)
    return added(chunk, torch.maximum(largest, -smallest) * sign, parameters.scaling)


METHOD = Method(
    name="magmax",
    summary="base plus, for each element, the task vector with the largest magnitude",
    paper="Marczak et al., MagMax, 2024",
    url="https://arxiv.org/abs/2407.06322",
    combine=magmax,
    parameters=MagMax,
    preserves_base_rows=True,
    needs_base=True,
    takes_weights=False,
)
