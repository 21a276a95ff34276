"""Exact order statistics of vectors that come in pieces: the k-th largest magnitude, as a full sort would give it.

A sample brackets the value; one pass counts what lies above the bracket and keeps the few elements inside; the answer
is among those (Floyd and Rivest's idea, https://doi.org/10.1145/360680.360691). A bracket that misses is widened, so
the sample costs time at worst, never exactness.
"""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

_SAMPLE = 2**17
_SIGMAS = 5.0


def kth_largest(
    vectors: Callable[[], Iterable[Sequence[Tensor]]], ranks: Sequence[Sequence[int]], total: int
) -> list[list[float]]:
    """The k-th largest magnitudes of several vectors.

    Args:
        vectors: yields the pieces of all vectors, side by side, from the start each time it is called; elements that
            are left out count as zeros.
        ranks: for each vector the ranks asked, from 1.
        total: how long a vector is, left-out elements included.

    Returns:
        For each vector and rank the magnitude of that rank; 0 beyond the last element, infinity for rank 0.
    """
    step = max(1, total // _SAMPLE)
    seen = [0] * len(ranks)
    samples: list[list[Tensor]] = [[] for _ in ranks]
    for parts in vectors():
        for index, part in enumerate(parts):
            seen[index] += part.numel()
            samples[index].append(part.reshape(-1)[::step].abs())
    searches = []
    for index, asked in enumerate(ranks):
        sample = torch.cat(samples[index]).sort(descending=True).values if samples[index] else torch.empty(0)
        searches.append([_Search(rank, seen[index], sample, exact=step == 1) for rank in asked])
    while any(search.value is None for group in searches for search in group):
        for parts in vectors():
            for group, part in zip(searches, parts, strict=True):
                magnitude = part.abs()
                for search in group:
                    search.look(magnitude)
        for group in searches:
            for search in group:
                search.settle()
    return [[float(search.value or 0.0) for search in group] for group in searches]


class _Search:
    """The search for one rank of one vector."""

    def __init__(self, rank: int, seen: int, sample: Tensor, *, exact: bool) -> None:
        self.value: float | None = None
        self._rank = rank
        self._low, self._high = 0.0, math.inf
        self._above, self._inside = 0, list[Tensor]()
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
            self._high = sample[first].item() if first >= 0 else math.inf
            self._low = sample[last].item() if last < len(sample) else 0.0

    def look(self, magnitude: Tensor) -> None:
        """Counts a piece's elements above the bracket and keeps those inside, but for zeros: there may be many."""
        if self.value is not None:
            return
        self._above += int(torch.count_nonzero(magnitude > self._high))
        over = magnitude >= self._low if self._low > 0 else magnitude > 0
        self._inside.append(magnitude[over & (magnitude <= self._high)])

    def settle(self) -> None:
        """Finds the value among the elements inside, or widens the bracket on the side where it must be."""
        if self.value is not None:
            return
        inside = torch.cat(self._inside)
        within = self._rank - self._above
        if 1 <= within <= len(inside):
            self.value = inside.kthvalue(len(inside) - within + 1).values.item()
        elif within > len(inside) and self._low == 0:
            self.value = 0.0
        elif within < 1:
            self._low, self._high = self._high, math.inf
        else:
            self._low, self._high = 0.0, self._low
        self._above, self._inside = 0, []
