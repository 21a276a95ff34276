"""What the methods on task vectors share: the vectors, their weighted sums, and the sign that the sources elect."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mu_lightning.merging.method import Chunk, base_of

AVERAGE = "average"
TOTAL = "total"


def task_vectors(chunk: Chunk) -> list[Tensor]:
    """Source minus base, for every source (Ilharco et al., 2022)."""
    base = base_of(chunk)
    return [source - base for source in chunk.sources]


def weighted_sum(vectors: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
    """Σ f_i v_i, of the vectors' shape."""
    total = torch.zeros_like(vectors[0])
    for vector, factor in zip(vectors, factors, strict=True):
        total.add_(vector, alpha=factor)
    return total


def elected(vectors: Sequence[Tensor], factors: Sequence[float], how: str, vote: str = "mass") -> Tensor:
    """For each element the sources elect a sign; those that disagree, or are zero, are left out (TIES).

    Args:
        vectors: task vectors, of one shape.
        factors: their weights.
        how: ``average`` of the agreeing, weighted; or their weighted ``total``.
        vote: the sign wins that has the greater ``mass`` (sum of weighted values), ``plain mass`` (of values without
            their weights) or ``count`` (of sources).

    Returns:
        The merged task vector, of the vectors' shape; a tie goes to plus.
    """
    if vote == "count":
        counted = weighted_sum(
            [vector.sign() for vector in vectors], [math.copysign(1.0, factor) for factor in factors]
        )
    else:
        counted = weighted_sum(vectors, [1.0] * len(vectors) if vote == "plain mass" else factors)
    sign = torch.copysign(torch.ones((), dtype=counted.dtype, device=counted.device), counted)
    # On a CPU arithmetic on floats is many times faster than masks and `where`: what agrees is what is positive after
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
    """The vector with elements of a magnitude below the threshold set to zero."""
    if threshold <= 0:
        return vector
    below = torch.nextafter(torch.tensor(threshold, dtype=vector.dtype), torch.tensor(0.0, dtype=vector.dtype))
    return torch.nn.functional.hardshrink(vector, below.item())


def added(chunk: Chunk, vector: Tensor, scaling: float) -> Tensor:
    """The base plus the scaled merged task vector."""
    return torch.add(base_of(chunk), vector, alpha=scaling)
