"""Merges model folders as numpy's arrays, without torch: to import it takes as long as the merge itself."""

import mmap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mu_lightning.merging.engine.cutting import Cut, cuts
from mu_lightning.merging.engine.dtypes import SIZES, is_float
from mu_lightning.merging.engine.finite import check_sources, too_large, unequal
from mu_lightning.merging.engine.job import Job
from mu_lightning.merging.engine.piece_threads import in_order, thread_count
from mu_lightning.merging.engine.unchanged import changed_rows
from mu_lightning.merging.folders.folder_plan import FolderPlan
from mu_lightning.merging.folders.safetensor_files import Entry
from mu_lightning.merging.method import Piece

# What numpy has no dtype for.
_UNKNOWN = ("bfloat16", "float8_e4m3fn", "float8_e5m2")
_MOST_FILES = 256  # a process may hold some thousand files open


def suits(plan: FolderPlan) -> bool:
    """Whether a merge can do without torch: its method is written in operators, and numpy knows every dtype."""
    folders = [*plan.folders.values(), *([plan.base] if plan.base else [])]
    dtypes = {entry.dtype for folder in folders for entry in folder.tensors.values()}
    dtypes |= {dtype for dtype, _ in plan.tensors.values()}
    on_cpu = plan.job.device is None or plan.job.device.type == "cpu"
    return plan.job.method.operators and on_cpu and dtypes.isdisjoint(_UNKNOWN)


class ArrayMerge:
    """A merge that `suits`; what `TensorMerge` gives, bit for bit.

    Args:
        plan: the merge.
    """

    def __init__(self, plan: FolderPlan) -> None:
        self._plan = plan
        self._maps: dict[Path, mmap.mmap] = {}

    def pieces(self, name: str) -> Iterator[np.ndarray]:
        """The merged tensor of that name in consecutive pieces, in the dtype of the result.

        Raises:
            UserError: as of `merge_folders`.
        """
        plan, job = self._plan, self._plan.job.of(name)
        sources = [self._array(folder.tensors[name]) for folder in plan.folders.values()]
        dtype, shape = plan.tensors[name]
        if not is_float(dtype):
            for source, other in zip(job.names[1:], sources[1:], strict=True):
                if not np.array_equal(sources[0], other):
                    raise unequal(name, dtype, job.names[0], source)
            yield sources[0]
            return
        entry = None if plan.base is None else plan.base.tensors.get(name)
        every = [None if entry is None else self._array(entry), *sources]
        wide = np.float64 if any(source.dtype == np.float64 for source in sources) else np.float32

        def merged(part: tuple[int, Cut]) -> np.ndarray:
            arrays: list[Any] = [None if each is None else part[1](each).astype(wide, copy=False) for each in every]
            with np.errstate(all="ignore"):  # what comes out broken is refused here, and the source named
                result = _combined(job, Piece(name, arrays[1:], job.weights, arrays[0]))
                narrowed = result.astype(dtype, copy=False)
            if SIZES[dtype] < result.itemsize and not np.isfinite(narrowed).all():
                raise too_large(name, dtype)
            return narrowed

        yield from in_order(merged, cuts(shape, len(sources), job.method.granularity), thread_count())

    def _array(self, entry: Entry) -> np.ndarray:
        """The tensor at `entry`, mapped; to be read only. A tensor without dimensions comes as one of a single row."""
        shape = entry.shape or (1,)
        if entry.start == entry.stop:
            return np.empty(shape, entry.dtype)
        found = self._maps.get(entry.path)
        if found is None:
            if len(self._maps) == _MOST_FILES:
                self._maps.pop(next(iter(self._maps)))
            with entry.path.open("rb") as file:
                found = self._maps[entry.path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        raw = np.frombuffer(found, np.uint8, entry.stop - entry.start, entry.start)
        return (raw.copy() if entry.start % SIZES[entry.dtype] else raw).view(entry.dtype).reshape(shape)


def _combined(job: Job, piece: Piece) -> Any:
    """A piece, merged: an array of its shape; rows that no source changed are the base's."""
    method, base = job.method, piece.base
    if not method.spreads:
        check_sources(job.names, piece)
    changed = changed_rows(piece.sources, base) if method.local and base is not None and base.ndim > 1 else None
    if changed is None or base is None:
        merged: Any = method.combine(piece, job.parameters)
    else:
        merged = np.array(base)
        if changed.any():
            sources = [source[changed] for source in piece.sources]
            merged[changed] = method.combine(replace(piece, sources=sources, base=base[changed]), job.parameters)
    if method.spreads and not np.isfinite(merged.sum()):
        check_sources(job.names, piece)
    return merged
