"""WUDI-Merging: minimizes the interference of the merged task vector with the subspace of each source.

Cheng et al., Whoever Started the Interference Should End It: Guiding Data-Free Model Merging via Task Vectors, 2025.
https://arxiv.org/abs/2503.08099
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.spectral import merged_matrices
from mu_lightning.merging.methods.shared.task_vectors import weighted_sum
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, SUM, WEIGHTING_HELP


@dataclass(frozen=True)
class Wudi:
    """Parameters of WUDI-Merging, with the paper's defaults."""

    solver: str = option("adam", "Adam from the sum (the paper), or exact least squares", choices=("adam", "exact"))
    iterations: int = option(300, "number of Adam steps", low=0)
    learning_rate: float = option(1e-5, "learning rate of Adam", low=0)
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


def least_interference(vectors: Sequence[Tensor], parameters: Wudi) -> Tensor:
    """Returns the matrix τ that minimizes Σ_i ‖(τ − τ_i) τ_iᵀ‖² / ‖τ_i‖², [rows, columns].

    With C_i = τ_iᵀ τ_i / ‖τ_i‖² of shape [columns, columns] the gradient is 2 (τ Σ C_i − Σ τ_i C_i), so a step costs
    one matrix product, independent of the number of sources.
    """
    columns = vectors[0].shape[1]
    norm = vectors[0].new_zeros((columns, columns))
    aim = torch.zeros_like(vectors[0])
    for vector in vectors:
        energy = vector.square().sum()
        if energy > 0:
            own = vector.T @ vector / energy
            norm += own
            aim += vector @ own
    merged = weighted_sum(vectors, [1.0] * len(vectors))
    if parameters.solver == "exact":
        # The minimizer closest to the sum: directions that no source uses are unchanged.
        return merged + (aim - merged @ norm) @ torch.linalg.pinv(norm.double(), hermitian=True).to(norm.dtype)
    mean, square = torch.zeros_like(merged), torch.zeros_like(merged)
    for step in range(1, parameters.iterations + 1):
        gradient = (merged @ norm).sub_(aim).mul_(2)
        mean.lerp_(gradient, 0.1)
        square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        size = torch.div(square, 1 - 0.999**step, out=gradient).sqrt_().add_(1e-8)
        merged.addcdiv_(mean, size, value=-parameters.learning_rate / (1 - 0.9**step))
    return merged


def wudi(chunk: Chunk, parameters: Wudi) -> Tensor:
    """Merges matrices by least interference and averages other tensors."""
    merge = partial(least_interference, parameters=parameters)
    return merged_matrices(chunk, parameters.weighting, 1.0, merge)


METHOD = Method(
    name="wudi",
    summary="base plus the task vector with the least interference with each source's subspace",
    paper="Cheng et al., Whoever Started the Interference Should End It (WUDI), 2025",
    url="https://arxiv.org/abs/2503.08099",
    combine=wudi,
    parameters=Wudi,
    granularity="tensor",
    tensors_in_memory=8,
    preserves_base_rows=True,
    needs_base=True,
)
