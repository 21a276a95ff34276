"""Merges model folders with torch: any method, dtype and device."""

from collections.abc import Iterator

import numpy as np
import torch

from mu_lightning.merging.engine.chunked_merge import ProgressCallback, merged_chunks, model_statistics
from mu_lightning.merging.engine.chunks import SourceTensors
from mu_lightning.merging.engine.dtypes import BITS, is_float
from mu_lightning.merging.engine.finite import too_large
from mu_lightning.merging.folders.folder_plan import FolderPlan
from mu_lightning.merging.folders.mapped_bytes import MappedBytes
from mu_lightning.merging.folders.mapped_files import MappedFiles
from mu_lightning.merging.folders.safetensor_files import check_length


class TensorMerge:
    """A merge with torch, one tensor at a time.

    Args:
        plan: the merge.
        progress: called while global statistics are computed.
    """

    @torch.no_grad()
    def __init__(self, plan: FolderPlan, progress: ProgressCallback) -> None:
        self._plan, self._progress, self._files = plan, progress, MappedFiles()
        averaged = [name for name, (dtype, _) in plan.tensors.items() if is_float(dtype)]
        self._statistics = model_statistics(plan.job, map(self._tensors, averaged), progress)

    @torch.no_grad()
    def chunks(self, name: str) -> Iterator[np.ndarray]:
        """Yields the merged tensor in consecutive chunks, as bytes.

        Raises:
            UserError: see `merge_folders`.
        """
        plan, dtype = self._plan, self._plan.tensors[name][0]
        if not is_float(dtype):
            yield MappedBytes().shared(name, plan.job.names, [each.tensors[name] for each in plan.folders.values()])
            return
        entries = [folder.tensors[name] for folder in plan.folders.values()]
        for chunk in merged_chunks(plan.job, self._tensors(name), self._statistics, self._progress):
            check_length(entries)  # before the next chunk is read
            result = chunk.to(getattr(torch, dtype))
            if BITS[dtype] < 8 * chunk.dtype.itemsize and not bool(torch.isfinite(result.float()).all()):
                raise too_large(name, dtype)
            yield _bytes(result)

    def _tensors(self, name: str) -> SourceTensors:
        """Memory-maps a tensor of the sources and the base."""
        plan = self._plan
        base = None if plan.base is None else plan.base.tensors.get(name)
        return SourceTensors(
            name,
            [self._files.tensor(folder.tensors[name]) for folder in plan.folders.values()],
            None if base is None else self._files.tensor(base),
            None if plan.statistics is None else [plan.statistics.get(source, {}).get(name) for source in plan.folders],
        )


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    found: np.ndarray = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return found
