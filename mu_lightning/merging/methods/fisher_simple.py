"""Fisher merging without data: magnitudes stand in for the Fisher information.

After Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2021. https://arxiv.org/abs/2111.09832
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.fisher import importance_average
from mu_lightning.merging.methods.shared.inner_products import gram_matrix
from mu_lightning.merging.methods.shared.weighting import MEAN, scaled_weights


@dataclass(frozen=True)
class FisherSimple:
    """Parameters of magnitude-weighted averaging."""

    importance: str = option(
        "tensor",
        "what weighs: the norm of a source's tensor, or each element's magnitude",
        choices=("tensor", "element"),
    )
    floor: float = option(1e-6, "added to every importance, so that zeros are averaged", low=0)


def lengths(chunks: Chunks, parameters: FisherSimple) -> list[float]:
    """Each source's norm over a tensor."""
    if parameters.importance == "element":
        return [1.0] * chunks.sources
    return gram_matrix(chunks).diagonal().sqrt().tolist()


def fisher_simple(chunk: Chunk, parameters: FisherSimple) -> torch.Tensor:
    """Σ w_i m_i θ_i / Σ w_i m_i with magnitudes m, of the chunk's shape."""
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
    summary="average weighted by the magnitude of the sources' tensors, in place of their Fisher information",
    paper="after Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2021",
    url="https://arxiv.org/abs/2111.09832",
    combine=fisher_simple,
    parameters=FisherSimple,
    global_statistics=lengths,
)
