"""Singular value decompositions of task vectors; rows that no source changed are left out, which only saves time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def on_changed_rows(vectors: Sequence[Tensor], merge: Callable[[list[Tensor]], Tensor]) -> Tensor:
    """`merge` of the matrices without the rows that are zero in all of them, put back among zeros.

    Args:
        vectors: matrices of one shape [rows, columns].
        merge: a function of matrices that keeps zero rows zero and does not look at a row's place.
    """
    changed = torch.stack([vector.any(1) for vector in vectors]).any(0)
    merged = torch.zeros_like(vectors[0])
    if bool(changed.any()):
        merged[changed] = merge([vector[changed] for vector in vectors])
    return merged


def decomposed(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U [rows, r], S [r] and Vᵀ [r, columns] of a matrix, thin."""
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left, values, right


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal columns (or rows, if it is wide), in the Frobenius norm."""
    left, _, right = decomposed(matrix)
    return left @ right
