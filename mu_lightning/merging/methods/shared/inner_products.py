"""Inner products of the sources, for methods whose result is in the span of the sources.

A spherical mean of n vectors is a weighted sum whose weights follow from the n x n inner products. Such a method reads
a tensor twice, once for the inner products and once for the sum, and needs one chunk in memory.
"""

import torch
from torch import Tensor

from mu_lightning.merging.method import Chunk, Chunks
from mu_lightning.merging.methods.shared.task_vectors import task_vectors


def vectors_of(chunk: Chunk) -> list[Tensor]:
    """The sources, or their task vectors if there is a base."""
    return list(chunk.sources) if chunk.base is None else task_vectors(chunk)


def gram_matrix(chunks: Chunks) -> Tensor:
    """Inner products of the vectors, [sources, sources], in float64 on the CPU."""
    products = torch.zeros(chunks.sources, chunks.sources, dtype=torch.float64)
    for part in chunks.map(_products):
        products += part
    return products


def _products(chunk: Chunk) -> Tensor:
    stacked = torch.stack([vector.reshape(-1) for vector in vectors_of(chunk)]).double()
    return (stacked @ stacked.T).cpu()


def unit_products(products: Tensor) -> tuple[Tensor, Tensor]:
    """Norms of the vectors, and inner products of the unit vectors (zeros for a zero vector)."""
    norms = products.diagonal().sqrt()
    lengths = norms.clamp(min=torch.finfo(torch.float64).tiny)
    cosines = (products / lengths[:, None] / lengths).clamp(-1, 1)
    cosines.diagonal()[norms > 0] = 1.0
    return norms, cosines


def combined(chunk: Chunk, coefficients: Tensor) -> Tensor:
    """Computes Σ c_i v_i, plus the base if there is one.

    It is computed as θ_0 + Σ c_i (θ_i − θ_0) + (Σ c_i − 1) θ_0, to avoid rounding errors for nearly equal sources.
    """
    first = chunk.sources[0]
    total = torch.zeros_like(first)
    for coefficient, source in zip(coefficients[1:].tolist(), chunk.sources[1:], strict=True):
        total.add_(source - first, alpha=coefficient)
    excess = coefficients.sum().item() - 1.0
    anchor = first if chunk.base is None else first - chunk.base
    return total.add_(first).add_(anchor, alpha=excess)
