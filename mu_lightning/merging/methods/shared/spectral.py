"""Singular value decompositions of task vectors, one source at a time; unchanged rows are skipped."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mu_lightning.merging.method import Chunk, LazySequence, base_of
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors, weighted_sum
from mu_lightning.merging.methods.shared.weighting import MEAN, scaled_weights


def merged_matrices(
    chunk: Chunk, weighting: str, scaling: float, merge: Callable[[Sequence[Tensor]], Tensor]
) -> Tensor:
    """Adds the scaled `merge` of the weighted task vectors to the base; tensors other than matrices are averaged.

    Args:
        chunk: a whole tensor.
        weighting: see `scaled_weights`.
        scaling: factor of the merged task vector.
        merge: merges matrices of one shape; see `on_changed_rows`.
    """
    base, sources = base_of(chunk), chunk.sources
    if base.dim() != 2:
        return added(chunk, weighted_sum(task_vectors(chunk), scaled_weights(chunk.weights, MEAN)), scaling)
    factors = scaled_weights(chunk.weights, weighting)
    weighted = LazySequence(len(sources), lambda index: (sources[index] - base).mul_(factors[index]))
    return added(chunk, on_changed_rows(weighted, merge), scaling)


def on_changed_rows(vectors: Sequence[Tensor], merge: Callable[[Sequence[Tensor]], Tensor]) -> Tensor:
    """Applies `merge` to matrices without the rows that are zero in all of them.

    Args:
        vectors: matrices of one shape [rows, columns].
        merge: merges matrices; it must map zero rows to zero rows and must not depend on row positions.
    """
    rows, columns = vectors[0].shape
    changed = vectors[0].new_zeros(rows, dtype=torch.bool)
    for vector in vectors:
        changed |= vector.any(1)
    if bool(changed.all()):
        return merge(vectors)
    merged = vectors[0].new_zeros(rows, columns)
    if bool(changed.any()):
        merged[changed] = merge(LazySequence(len(vectors), lambda index: vectors[index][changed]))
    return merged


def decomposed(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Thin SVD of a matrix: U [rows, r], S [r] and Vᵀ [r, columns]."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left, values, right


def orthogonal(matrix: Tensor) -> Tensor:
    """Closest matrix in the Frobenius norm with orthonormal columns (rows for a wide matrix)."""
    left, _, right = decomposed(matrix)
    return left @ right
