"""Rows of a tensor that are not at hand, because they are the base's in every source."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A tensor of which sources and base hold some rows only; in the others all of them are `table`.

    Attributes:
        kept: numbers of the rows at hand, ascending, int64 of shape (kept rows,), on the CPU.
        table: the whole tensor of the base, [rows, ...].
    """

    kept: Tensor
    table: Tensor

    def rows(self, start: int, stop: int, tensor: Tensor) -> Tensor:
        """Rows `start` to `stop` of the whole tensor.

        Args:
            start: the first row's number.
            stop: the number after the last row's.
            tensor: the rows at hand, [kept rows, ...].
        """
        first, last = self._between(start, stop)
        whole = self.table[start:stop].to(tensor, copy=True)
        whole[(self.kept[first:last] - start).to(tensor.device)] = tensor[first:last]
        return whole

    def trimmed(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Of consecutive pieces of the whole tensor the rows that are at hand."""
        start = 0
        for piece in pieces:
            first, last = self._between(start, start + len(piece))
            yield piece[(self.kept[first:last] - start).to(piece.device)]
            start += len(piece)

    def _between(self, start: int, stop: int) -> tuple[int, int]:
        first, last = torch.searchsorted(self.kept, torch.tensor([start, stop])).tolist()
        return first, last
