"""Rows of a tensor that equal the base in every source and are therefore not stored."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FrozenRows:
    """A tensor of which sources and base store some rows only; the other rows are those of `table`.

    Attributes:
        kept: indices of the stored rows, ascending, int64 of shape (stored rows,), on the CPU.
        table: the full tensor of the base, [rows, ...].
    """

    kept: Tensor
    table: Tensor

    def rows(self, start: int, stop: int, tensor: Tensor) -> Tensor:
        """Returns rows `start` to `stop` of the full tensor.

        Args:
            start: index of the first row.
            stop: index after the last row.
            tensor: the stored rows, [stored rows, ...].
        """
        first, last = self._between(start, stop)
        whole = self.table[start:stop].to(tensor, copy=True)
        whole[(self.kept[first:last] - start).to(tensor.device)] = tensor[first:last]
        return whole

    def trimmed(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Removes the frozen rows from consecutive chunks of the full tensor."""
        start = 0
        for chunk in chunks:
            first, last = self._between(start, start + len(chunk))
            yield chunk[(self.kept[first:last] - start).to(chunk.device)]
            start += len(chunk)

    def _between(self, start: int, stop: int) -> tuple[int, int]:
        first, last = torch.searchsorted(self.kept, torch.tensor([start, stop])).tolist()
        return first, last
