"""Cuts tensors, or numpy's arrays, into the pieces that a method may see."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mu_lightning.merging.method import Granularity

# Elements of a piece where any will do: the same piece of all sources fits in a processor's cache.
PIECE = 2**17
# Elements of that piece in all sources together: many sources have smaller pieces, so that memory does not grow.
PIECES = 2**20

# Cuts its piece out of a tensor, or out of an array.
Cut = Callable[[Any], Any]


def piece_size(sources: int) -> int:
    """Elements of a piece where any will do."""
    return max(1, min(PIECE, PIECES // sources))


def rows_of(shape: Sequence[int], sources: int) -> tuple[int, int]:
    """The rows of a piece that holds whole ones, and the elements of a row."""
    width = math.prod(shape) // shape[0] if shape and shape[0] else 1
    return max(1, piece_size(sources) // width), width


def cuts(shape: Sequence[int], sources: int, granularity: Granularity) -> list[tuple[int, Cut]]:
    """Where each piece of a tensor starts, in elements, and how it is cut out.

    Args:
        shape: the tensor's.
        sources: how many sources are cut alike.
        granularity: what a piece may be.

    Returns:
        The pieces in order: rows, or elements, of about `piece_size`, or all at once.
    """
    count, size = math.prod(shape), piece_size(sources)
    rows, width = rows_of(shape, sources)
    if granularity == "tensor" or count <= size or (granularity == "rows" and len(shape) == 1):
        return [(0, _whole)]
    if len(shape) == 1 or (granularity == "elements" and width > size):
        return [(start, partial(_elements, start, start + size)) for start in range(0, count, size)]
    return [(row * width, partial(_rows, row, row + rows)) for row in range(0, shape[0], rows)]


def _elements(start: int, stop: int, tensor: Any) -> Any:
    return tensor.reshape(-1)[start:stop]


def _rows(start: int, stop: int, tensor: Any) -> Any:
    return tensor[start:stop]


def _whole(tensor: Any) -> Any:
    return tensor
