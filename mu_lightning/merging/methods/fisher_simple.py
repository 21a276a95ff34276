"""Data-free approximation of Fisher merging: magnitudes replace the Fisher information.

After Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2021. https://arxiv.org/abs/2111.09832
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.fisher import importance_average
from mu_lightning.merging.methods.shared.inner_products import gram_matrix
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.weighting import MEAN, scaled_weights


@dataclass(frozen=True)
class FisherSimple:
    """Parameters of magnitude-weighted averaging."""

    importance: str = option(
        "tensor",
        "importance: the norm of the tensor, or the magnitude of each element",
        choices=("tensor", "element"),
    )
    floor: float = option(1e-6, "added to the importance; zeros are averaged", low=0)
    scale: float = scale_option()


def lengths(chunks: Chunks, parameters: FisherSimple) -> list[float]:
    """Norm of the tensor for each source."""
    if parameters.importance == "element":
        return [1.0] * chunks.sources
    return gram_matrix(chunks).diagonal().sqrt().tolist()


def fisher_simple(chunk: Chunk, parameters: FisherSimple) -> torch.Tensor:
    """Computes Σ w_i m_i θ_i / Σ w_i m_i with magnitudes m_i."""
    factors = scaled_weights(chunk.weights, MEAN)
    importances = [
        (source.abs() if parameters.importance == "element" else torch.full_like(source, length))
        .add_(parameters.floor)
        .mul_(factor)
        for source, length, factor in zip(chunk.sources, chunk.global_statistics, factors, strict=True)
    ]
    return importance_average(chunk.sources, importances)


METHOD = Method(
    name="fisher_simple",
    summary="average weighted by the magnitude of the tensors, instead of Fisher information",
    paper="after Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2021",
    url="https://arxiv.org/abs/2111.09832",
    combine=fisher_simple,
    parameters=FisherSimple,
    scalable=True,
    global_statistics=lengths,
)
