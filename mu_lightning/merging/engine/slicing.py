"""Divides tensors or NumPy arrays into chunks."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mu_lightning.merging.method import Granularity

# Elements of a chunk of one source; the chunks of all sources fit into the CPU cache.
CHUNK_SIZE = 2**17
# Elements of a chunk in all sources together: memory does not grow with the number of sources.
TOTAL_CHUNK_SIZE = 2**20

# Slices a chunk out of a tensor or an array.
Slicer = Callable[[Any], Any]


def chunk_size(sources: int) -> int:
    """Maximum number of elements of a chunk, for so many sources."""
    return max(1, min(CHUNK_SIZE, TOTAL_CHUNK_SIZE // sources))


def rows_per_chunk(shape: Sequence[int], sources: int) -> tuple[int, int]:
    """Number of rows in a chunk of whole rows, and number of elements in a row."""
    width = math.prod(shape) // shape[0] if shape and shape[0] else 1
    return max(1, chunk_size(sources) // width), width


def slicers(shape: Sequence[int], sources: int, granularity: Granularity) -> list[tuple[int, Slicer]]:
    """Divides a tensor into chunks.

    Args:
        shape: shape of the tensor.
        sources: number of sources.
        granularity: granularity of the merge method.

    Returns:
        For each chunk, in order, the index of its first element and its slicer.
    """
    count, size = math.prod(shape), chunk_size(sources)
    rows, width = rows_per_chunk(shape, sources)
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
