"""Merges model folders as torch's tensors: any method, dtype and device."""

from collections.abc import Iterator

import numpy as np
import torch

from mu_lightning.merging.engine.dtypes import SIZES, is_float
from mu_lightning.merging.engine.finite import too_large
from mu_lightning.merging.engine.parts import Stack
from mu_lightning.merging.engine.pieces import Watch, combined_pieces, equal_buffer, model_survey
from mu_lightning.merging.folders.folder_plan import FolderPlan
from mu_lightning.merging.folders.mapped_files import MappedFiles


class TensorMerge:
    """A merge, a tensor at a time.

    Args:
        plan: the merge.
        watch: hears how far its surveys are.
    """

    @torch.no_grad()
    def __init__(self, plan: FolderPlan, watch: Watch) -> None:
        self._plan, self._watch, self._files = plan, watch, MappedFiles()
        self._survey = model_survey(plan.job, map(self._stack, plan.tensors), watch)

    @torch.no_grad()
    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """The merged tensor of that name in consecutive pieces, as bytes.

        Raises:
            UserError: as of `merge_folders`.
        """
        dtype, stack = self._plan.tensors[name][0], self._stack(name)
        if not is_float(dtype):
            yield _bytes(equal_buffer(self._plan.job.names, stack))
            return
        for piece in combined_pieces(self._plan.job, stack, self._survey, self._watch):
            result = piece.to(getattr(torch, dtype))
            if SIZES[dtype] < piece.dtype.itemsize and not bool(torch.isfinite(result.float()).all()):
                raise too_large(name, dtype)
            yield _bytes(result)

    def _stack(self, name: str) -> Stack:
        """The tensor of that name in the sources and the base, mapped."""
        plan = self._plan
        base = None if plan.base is None else plan.base.tensors.get(name)
        return Stack(
            name,
            [self._files.tensor(folder.tensors[name]) for folder in plan.folders.values()],
            None if base is None else self._files.tensor(base),
            None if plan.statistics is None else [plan.statistics.get(source, {}).get(name) for source in plan.folders],
        )


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    found: np.ndarray = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return found
