"""Torch's tensors, mapped from safetensors files."""

from pathlib import Path

import torch
from torch import Tensor

from mu_lightning.merging.folders.safetensor_files import Entry


class MappedFiles:
    """Tensors mapped from their files: the system reads what is touched, and nothing is copied."""

    def __init__(self) -> None:
        self._maps: dict[Path, Tensor] = {}

    def tensor(self, entry: Entry) -> Tensor:
        """The tensor at `entry`; what is written to it is seen by no one else."""
        dtype: torch.dtype = getattr(torch, entry.dtype)
        if entry.stop == entry.start:
            return torch.empty(entry.shape, dtype=dtype)
        if entry.path not in self._maps:
            size = entry.path.stat().st_size
            self._maps[entry.path] = torch.from_file(str(entry.path), shared=False, size=size, dtype=torch.uint8)
        raw = self._maps[entry.path][entry.start : entry.stop]
        if entry.start % dtype.itemsize:
            raw = raw.clone()  # a file whose header is not padded: such bytes cannot be read in place
        return raw.view(dtype).view(entry.shape)
