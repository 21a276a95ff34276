"""Memory-mapped tensors of safetensors files."""

from pathlib import Path

import torch
from torch import Tensor

from mu_lightning.merging.engine.dtypes import is_float
from mu_lightning.merging.engine.finite import check_finite
from mu_lightning.merging.folders.model_folders import ModelFolder
from mu_lightning.merging.folders.safetensor_files import Entry, check_length


def check_finite_folder(name: str, folder: ModelFolder) -> None:
    """Raises UserError if a tensor of a model folder contains a NaN or an infinity.

    Args:
        name: the model, for the error.
        folder: the opened folder.
    """
    files = MappedFiles()
    for tensor, entry in folder.tensors.items():
        if is_float(entry.dtype):
            check_finite(files.tensor(entry).float(), tensor, name)


class MappedFiles:
    """Memory-maps tensors: pages are read on access, without copies."""

    def __init__(self) -> None:
        self._maps: dict[Path, Tensor] = {}

    def tensor(self, entry: Entry) -> Tensor:
        """Returns the tensor of an entry; writes are private to this process.

        Raises:
            UserError: the file was cut or removed since its header was read.
        """
        dtype: torch.dtype = getattr(torch, entry.dtype)
        if entry.stop == entry.start:
            return torch.empty(entry.shape, dtype=dtype)
        check_length([entry])
        if entry.path not in self._maps:
            size = entry.path.stat().st_size
            self._maps[entry.path] = torch.from_file(str(entry.path), shared=False, size=size, dtype=torch.uint8)
        raw = self._maps[entry.path][entry.start : entry.stop]
        if entry.start % dtype.itemsize:
            raw = raw.clone()  # unaligned: the header of the file is not padded
        tensor = raw.view(dtype).view(entry.shape)
        return tensor if entry.rows is None else tensor[list(entry.rows)]
