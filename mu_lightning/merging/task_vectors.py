"""What the methods on task vectors share: the vectors, their weighted sums, and the sign that the sources elect."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mu_lightning.errors import UserError
from mu_lightning.merging.method import Piece

AVERAGE = "average"
TOTAL = "total"


def base_of(piece: Piece) -> Tensor:
    """The base's part of a piece; raises UserError where there is none."""
    if piece.base is None:
        raise UserError(f"{piece.name}: task vectors need a base model")
    return piece.base


def task_vectors(piece: Piece) -> list[Tensor]:
    """Source minus base, for every source (Ilharco et al., 2022)."""
    base = base_of(piece)
    return [source - base for source in piece.sources]


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
    total, positive = torch.zeros_like(vectors[0]), torch.zeros_like(vectors[0])
    for vector, factor in zip(vectors, factors, strict=True):
        weighted = vector * factor
        total.add_(weighted)
        positive.add_(weighted.clamp_(min=0))
    if vote == "count":
        signs = [math.copysign(1.0, factor) for factor in factors]
        up = weighted_sum([vector.sign() for vector in vectors], signs) >= 0
    elif vote == "plain mass":
        up = weighted_sum(vectors, [1.0] * len(vectors)) >= 0
    else:
        up = total >= 0
    merged = torch.where(up, positive, total - positive)
    if how == AVERAGE:
        weight_up, weight_down = torch.zeros_like(total), torch.zeros_like(total)
        for vector, factor in zip(vectors, factors, strict=True):
            weighted = vector * factor
            weight_up.add_(weighted > 0, alpha=abs(factor))
            weight_down.add_(weighted < 0, alpha=abs(factor))
        weight = torch.where(up, weight_up, weight_down)
        merged.div_(torch.where(weight > 0, weight, 1.0))
    return merged


def added(piece: Piece, vector: Tensor, scaling: float) -> Tensor:
    """The base plus the scaled merged task vector."""
    return torch.add(base_of(piece), vector, alpha=scaling)
