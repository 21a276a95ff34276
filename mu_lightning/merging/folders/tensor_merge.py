"""Merges model folders with torch: any method, dtype and device."""

from collections.abc import Iterator

import numpy as np
import torch

from mu_lightning.merging.engine.chunked_merge import ProgressCallback, equal_buffer, merged_chunks, model_statistics
from mu_lightning.merging.engine.chunks import SourceTensors
from mu_lightning.merging.engine.dtypes import SIZES, is_float
from mu_lightning.merging.engine.finite import too_large
from mu_lightning.merging.folders.folder_plan import FolderPlan
from mu_lightning.merging.folders.mapped_files import MappedFiles


class TensorMerge:
    """A merge with torch, one tensor at a time.

    Args:
        plan: the merge.
        progress: called while global statistics are computed.
    """

    @torch.no_grad()
    def __init__(self, plan: FolderPlan, progress: ProgressCallback) -> None:
        self._plan, self._progress, self._files = plan, progress, MappedFiles()
        self._statistics = model_statistics(plan.job, map(self._tensors, plan.tensors), progress)

    @torch.no_grad()
    def chunks(self, name: str) -> Iterator[np.ndarray]:
        """Yields the merged tensor in consecutive chunks, as bytes.

        Raises:
            UserError: see `merge_folders`.
        """
        dtype, tensors = self._plan.tensors[name][0], self._tensors(name)
        if not is_float(dtype):
            yield _bytes(equal_buffer(self._plan.job.names, tensors))
            return
        for chunk in merged_chunks(self._plan.job, tensors, self._statistics, self._progress):
            result = chunk.to(getattr(torch, dtype))
            if SIZES[dtype] < chunk.dtype.itemsize and not bool(torch.isfinite(result.float()).all()):
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
