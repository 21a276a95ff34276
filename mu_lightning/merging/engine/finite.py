"""What only the tensors themselves show to be broken; written in operators that tensors and numpy's arrays share."""

import math
from collections.abc import Sequence
from typing import Any

from mu_lightning.merging.method import Piece
from mu_lightning.utilities.errors import UserError


def check_finite(tensor: Any, name: str, source: str) -> None:
    """Raises UserError if `tensor` holds a NaN or an infinity; the sum, which both would reach, is the quick test."""
    if all_finite(tensor):
        return
    kind = "a NaN" if bool((tensor != tensor).any()) else "an infinity"
    raise UserError(f"{name} of {source} holds {kind}: the model is broken, retrain it or leave it out")


def check_sources(names: Sequence[str], piece: Piece) -> None:
    """Raises UserError if a source or the base holds a NaN or an infinity in a piece.

    Args:
        names: the sources' names.
        piece: the piece.
    """
    for name, source in zip(names, piece.sources, strict=True):
        check_finite(source, piece.name, name)
    if piece.base is not None:
        check_finite(piece.base, piece.name, "the base")


def all_finite(tensor: Any) -> bool:
    """Whether no element is a NaN or an infinity."""
    return math.isfinite(tensor.sum().item()) or bool((tensor - tensor == 0).all())


def unequal(tensor: str, dtype: str, source: str, other: str) -> UserError:
    """The error for a tensor of whole numbers that differs between two sources."""
    return UserError(
        f"{tensor} ({dtype}) differs between {source} and {other}: whole numbers are not averaged, they must be equal"
    )


def too_large(tensor: str, dtype: str) -> UserError:
    """The error for a merged tensor that the dtype of the result cannot hold."""
    return UserError(f"{tensor} has values too large for {dtype}: ask for bfloat16")
