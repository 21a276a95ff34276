"""Task vectors, their weighted sums, and TIES sign election."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mu_lightning.merging.method import Chunk, base_of

AVERAGE = "average"
TOTAL = "total"


def task_vectors(chunk: Chunk) -> list[Tensor]:
    """Task vectors: source minus base (Ilharco et al., 2022)."""
    base = base_of(chunk)
    return [source - base for source in chunk.sources]


def weighted_sum(vectors: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
    """Computes Σ f_i v_i."""
    total = torch.zeros_like(vectors[0])
    for vector, factor in zip(vectors, factors, strict=True):
        total.add_(vector, alpha=factor)
    return total


def elected(vectors: Sequence[Tensor], factors: Sequence[float], how: str, vote: str = "mass") -> Tensor:
    """Merges task vectors by TIES sign election: elements that disagree with the elected sign are ignored.

    Args:
        vectors: task vectors of one shape.
        factors: weights of the task vectors.
        how: weighted ``average`` or weighted ``total`` of the agreeing elements.
        vote: elects the sign by weighted sum (``mass``), by unweighted sum (``plain mass``) or by number of sources
            (``count``).

    Returns:
        The merged task vector; ties are resolved to the positive sign.
    """
    if vote == "count":
        counted = weighted_sum(
            [vector.sign() for vector in vectors], [math.copysign(1.0, factor) for factor in factors]
        )
    else:
        counted = weighted_sum(vectors, [1.0] * len(vectors) if vote == "plain mass" else factors)
    sign = torch.copysign(torch.ones((), dtype=counted.dtype, device=counted.device), counted)
    # On a CPU, float arithmetic is many times faster than masks and `where`: agreeing elements are positive after
    # multiplication with the elected sign.
    merged, weight = torch.zeros_like(sign), torch.zeros_like(sign)
    for vector, factor in zip(vectors, factors, strict=True):
        agreeing = (vector * sign if factor >= 0 else -vector * sign).clamp_(min=0)
        merged.add_(agreeing, alpha=abs(factor))
        if how == AVERAGE:
            weight.add_(agreeing.sign_(), alpha=abs(factor))
    if how == AVERAGE:
        merged.div_(weight.clamp_(min=torch.finfo(weight.dtype).tiny))
    return merged.mul_(sign)


def at_least(vector: Tensor, threshold: float) -> Tensor:
    """Sets elements with a magnitude below the threshold to zero."""
    if threshold <= 0:
        return vector
    below = torch.nextafter(torch.tensor(threshold, dtype=vector.dtype), torch.tensor(0.0, dtype=vector.dtype))
    return torch.nn.functional.hardshrink(vector, below.item())


def added(chunk: Chunk, vector: Tensor, scaling: float) -> Tensor:
    """Adds the scaled task vector to the base."""
    return torch.add(base_of(chunk), vector, alpha=scaling)
