"""Bytes of tensors, mapped from safetensors files without torch."""

import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mu_lightning.merging.engine.finite import unequal
from mu_lightning.merging.folders.safetensor_files import Entry, check_length

_MOST_FILES = 256  # below the usual limit of 1,024 open files


class MappedBytes:
    """Tensors as bytes, mapped from their files: the system reads what is touched, and nothing is copied."""

    def __init__(self) -> None:
        self._maps: dict[Path, mmap.mmap] = {}

    def raw(self, entry: Entry) -> np.ndarray:
        """A tensor's bytes, uint8, to be read only; raises UserError if the file was cut or removed."""
        if entry.start == entry.stop:
            return np.empty(0, np.uint8)
        check_length([entry])
        found = self._maps.get(entry.path)
        if found is None:
            if len(self._maps) == _MOST_FILES:
                self._maps.pop(next(iter(self._maps)))
            with entry.path.open("rb") as file:
                found = self._maps[entry.path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        raw = np.frombuffer(found, np.uint8, entry.stop - entry.start, entry.start)
        return raw if entry.rows is None else raw.reshape(len(entry.rows), -1)[list(entry.rows)].reshape(-1)

    def shared(self, name: str, sources: Sequence[str], entries: Sequence[Entry]) -> np.ndarray:
        """The bytes of a tensor that is not averaged, which every source must have alike.

        Args:
            name: the tensor's name.
            sources: the sources' names.
            entries: where the tensor lies in each source.

        Raises:
            UserError: it differs between two sources.
        """
        first = self.raw(entries[0])
        for source, entry in zip(sources[1:], entries[1:], strict=True):
            if not np.array_equal(first, self.raw(entry)):
                raise unequal(name, entry.dtype, sources[0], source)
        return first
