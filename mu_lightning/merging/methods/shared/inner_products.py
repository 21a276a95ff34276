"""Inner products of the sources, a chunk at a time: enough for every method that works in the span of its sources.

A spherical mean of n vectors is a weighted sum of them, and its weights follow from the n x n inner products alone. So
such a method reads a tensor twice, once for the products and once for the sum, and never needs more than a chunk of it
in memory.
"""

import torch
from torch import Tensor

from mu_lightning.merging.method import Chunk, Chunks
from mu_lightning.merging.methods.shared.task_vectors import task_vectors


def vectors_of(chunk: Chunk) -> list[Tensor]:
    """The sources, or their task vectors where there is a base."""
    return list(chunk.sources) if chunk.base is None else task_vectors(chunk)


def gram_matrix(chunks: Chunks) -> Tensor:
    """The inner products of the vectors, of shape [sources, sources], in float64 on the CPU."""
    products = torch.zeros(chunks.sources, chunks.sources, dtype=torch.float64)
    for part in chunks.map(_products):
        products += part
    return products


def _products(chunk: Chunk) -> Tensor:
    stacked = torch.stack([vector.reshape(-1) for vector in vectors_of(chunk)]).double()
    return (stacked @ stacked.T).cpu()


def unit_products(products: Tensor) -> tuple[Tensor, Tensor]:
    """The vectors' norms, and the inner products of the vectors at length 1 (zeros for a vector of length 0)."""
    norms = products.diagonal().sqrt()
    lengths = norms.clamp(min=torch.finfo(torch.float64).tiny)
    cosines = (products / lengths[:, None] / lengths).clamp(-1, 1)
    cosines.diagonal()[norms > 0] = 1.0
    return norms, cosines


def combined(chunk: Chunk, coefficients: Tensor) -> Tensor:
    """Σ c_i v_i, on the base where there is one; of the chunk's shape.

    It is computed around the first source, θ_0 + Σ c_i (θ_i − θ_0) + (Σ c_i − 1) θ_0, so that nearly equal sources
    lose nothing to rounding.
    """
    first = chunk.sources[0]
    total = torch.zeros_like(first)
    for coefficient, source in zip(coefficients[1:].tolist(), chunk.sources[1:], strict=True):
        total.add_(source - first, alpha=coefficient)
    excess = coefficients.sum().item() - 1.0
    anchor = first if chunk.base is None else first - chunk.base
    return total.add_(first).add_(anchor, alpha=excess)
