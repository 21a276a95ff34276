"""Exact order statistics of chunked vectors: the k-th largest magnitude, without sorting the full vector.

A sample yields a bracket for the value; one pass counts the elements above the bracket and collects those inside (after
Floyd and Rivest, https://doi.org/10.1145/360680.360691). If the value is outside, the bracket is widened and the pass
repeated: the result is always exact.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from mu_lightning.merging.method import Chunk, Chunks

SAMPLE = 2**20
AT_ONCE = 5  # sources per pass; with fewer, the base is read more often
_SIGMAS = 5.0


def kth_largest(
    chunks: Chunks, vectors: Callable[[Chunk], Sequence[Tensor]], ranks: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Computes the k-th largest magnitudes of several vectors.

    Args:
        chunks: chunks of a tensor or model; omitted elements count as zeros.
        vectors: returns the slices of the vectors in a chunk.
        ranks: the requested ranks for each vector, from 1.

    Returns:
        The magnitude for each vector and rank; 0 beyond the last element, infinity for rank 0.
    """
    step = max(1, -(-chunks.total // SAMPLE))

    def sampled(chunk: Chunk) -> list[tuple[int, np.ndarray]]:
        return [(part.numel(), part.reshape(-1)[::step].abs().cpu().numpy()) for part in vectors(chunk)]

    seen = [0] * len(ranks)
    samples = [_Values(min(chunks.total, SAMPLE + SAMPLE // 4)) for _ in ranks]
    for parts in chunks.map(sampled):
        for index, (count, sample) in enumerate(parts):
            seen[index] += count
            samples[index].add(sample)
    searches = []
    for index, asked in enumerate(ranks):
        ordered = np.sort(samples[index].all())[::-1]
        samples[index] = _Values()  # releases the memory of the sample
        searches.append([_Search(rank, seen[index], ordered, exact=step == 1) for rank in asked])
    while open_searches := [search for group in searches for search in group if search.value is None]:

        def looked(chunk: Chunk) -> list[tuple["_Search", int, np.ndarray]]:
            found = []
            for group, part in zip(searches, vectors(chunk), strict=True):
                magnitude = part.abs()
                found += [(search, *search.look(magnitude)) for search in group if search.value is None]
            return found

        for part in chunks.map(looked):
            for search, above, inside in part:
                search.add(above, inside)
        for search in open_searches:
            search.settle()
    return [[float(search.value or 0.0) for search in group] for group in searches]


def each_kth_largest(
    chunks: Chunks, vectors: Callable[[Chunk, Sequence[int]], Sequence[Tensor]], ranks: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Computes `kth_largest` for one vector per source, a few sources at a time to bound memory.

    Args:
        chunks: chunks of a tensor or model.
        vectors: returns the slices of the vectors in a chunk, for the sources with the given indices.
        ranks: the requested ranks for each source, from 1.
    """

    def of(chosen: range) -> list[list[float]]:
        return kth_largest(chunks.only(chosen), lambda chunk: vectors(chunk, chosen), [ranks[i] for i in chosen])

    sources = range(chunks.sources)
    return [found for start in sources[::AT_ONCE] for found in of(sources[start : start + AT_ONCE])]


class _Values:
    """Values collected from many chunks, in one growing array.

    Thousands of small arrays between large temporary ones would fragment the memory of the process.
    """

    def __init__(self, expected: int = 2**12) -> None:
        self._array = np.empty(expected, dtype=np.float32)
        self._count = 0

    def add(self, values: np.ndarray) -> None:
        """Appends values; doubles the array if it is full."""
        end = self._count + len(values)
        if end > len(self._array) or values.dtype.itemsize > self._array.dtype.itemsize:
            dtype = np.promote_types(values.dtype, self._array.dtype)
            larger = np.empty(max(end, 2 * len(self._array)), dtype=dtype)
            larger[: self._count] = self._array[: self._count]
            self._array = larger
        self._array[self._count : end] = values
        self._count = end

    def all(self) -> np.ndarray:
        """Returns the collected values."""
        return self._array[: self._count]


class _Search:
    """The search for one rank of one vector."""

    def __init__(self, rank: int, seen: int, sample: np.ndarray, *, exact: bool) -> None:
        self.value: float | None = None
        self._rank = rank
        self._low, self._high = 0.0, math.inf
        self._above = 0
        self._inside = _Values()
        if rank <= 0:
            self.value = math.inf
        elif rank > seen:
            self.value = 0.0
        elif exact:
            self.value = sample[rank - 1].item()
        else:
            share = rank / seen
            margin = _SIGMAS * math.sqrt(len(sample) * share * (1 - share)) + 8
            first, last = math.floor(share * len(sample) - margin), math.ceil(share * len(sample) + margin)
            self._inside = _Values(math.ceil(1.1 * seen * 2 * margin / len(sample)))
            self._high = sample[first].item() if first >= 0 else math.inf
            self._low = sample[last].item() if last < len(sample) else 0.0

    def look(self, magnitude: Tensor) -> tuple[int, np.ndarray]:
        """Counts the elements of a chunk above the bracket and returns the nonzero elements inside."""
        low, high = self._low, self._high
        if magnitude.device.type != "cpu":
            enough = magnitude > 0 if low == 0 else magnitude >= low
            return int((magnitude > high).sum()), magnitude[enough & (magnitude <= high)].cpu().numpy()
        # On a CPU, NumPy compares, selects and sorts several times faster than torch.
        values = magnitude.numpy()
        inside = values[(values > 0 if low == 0 else values >= low) & (values <= high)]
        return int(np.count_nonzero(values > high)), inside

    def add(self, above: int, inside: np.ndarray) -> None:
        """Adds the result of `look` for a chunk."""
        self._above += above
        self._inside.add(inside)

    def settle(self) -> None:
        """Selects the value among the elements inside, or widens the bracket on the side of the value."""
        inside = self._inside.all()
        within = self._rank - self._above
        if 1 <= within <= len(inside):
            self.value = np.partition(inside, len(inside) - within)[len(inside) - within].item()
        elif within > len(inside) and self._low == 0:
            self.value = 0.0
        elif within < 1:
            self._low, self._high = self._high, math.inf
        else:
            self._low, self._high = 0.0, self._low
        self._above, self._inside = 0, _Values()
