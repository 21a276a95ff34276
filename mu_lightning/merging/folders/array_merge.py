"""Merges model folders with NumPy: importing torch takes as long as the merge itself."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from mu_lightning.merging.engine.dtypes import BITS, is_float
from mu_lightning.merging.engine.finite import all_finite, check_result, check_sources, overflow_named, too_large
from mu_lightning.merging.engine.job import Job
from mu_lightning.merging.engine.slicing import Slicer, slicers
from mu_lightning.merging.engine.thread_pool import map_ordered, thread_count
from mu_lightning.merging.engine.unchanged import changed_rows
from mu_lightning.merging.folders.folder_plan import FolderPlan
from mu_lightning.merging.folders.mapped_bytes import MappedBytes
from mu_lightning.merging.folders.safetensor_files import Entry, check_length
from mu_lightning.merging.method import Chunk
from mu_lightning.merging.methods.shared.scaling import scaled

_NUMPY = {"float64", "float32", "float16"}  # the floating dtypes that NumPy has


def suits(plan: FolderPlan) -> bool:
    """Whether a merge can run without torch: its method supports NumPy arrays, and NumPy has all dtypes."""
    folders = [*plan.folders.values(), *([plan.base] if plan.base else [])]
    dtypes = {entry.dtype for folder in folders for entry in folder.tensors.values()}
    dtypes |= {dtype for dtype, _ in plan.tensors.values()}
    known = all(dtype in _NUMPY for dtype in dtypes if is_float(dtype))
    on_cpu = plan.job.device is None or plan.job.device.type == "cpu"
    return plan.job.method.numpy_compatible and on_cpu and known


class ArrayMerge:
    """A merge with NumPy; the result is bitwise identical to that of `TensorMerge`.

    Args:
        plan: the merge.
    """

    def __init__(self, plan: FolderPlan) -> None:
        self._plan = plan
        self._files = MappedBytes()

    def chunks(self, name: str) -> Iterator[np.ndarray]:
        """Yields the merged tensor in consecutive chunks, in the dtype of the result.

        Raises:
            UserError: see `merge_folders`.
        """
        plan, job = self._plan, self._plan.job.of(name)
        entries = [folder.tensors[name] for folder in plan.folders.values()]
        dtype, shape = plan.tensors[name]
        if not is_float(dtype):
            yield self._files.shared(name, job.names, entries)
            return
        sources = [self._array(entry) for entry in entries]
        entry = None if plan.base is None else plan.base.tensors.get(name)
        every = [None if entry is None else self._array(entry), *sources]
        wide = np.float64 if any(source.dtype == np.float64 for source in sources) else np.float32

        read = entries if entry is None else [*entries, entry]

        def merged(slicer: Slicer) -> np.ndarray:
            check_length(read)
            arrays: list[Any] = [None if each is None else slicer(each).astype(wide, copy=False) for each in every]
            with np.errstate(all="ignore"):  # non-finite results are reported below, with the source
                with overflow_named(name, job.method.name):
                    result = _combined(job, Chunk(name, arrays[1:], job.weights, arrays[0]))
                narrowed = result.astype(dtype, copy=False)
            if BITS[dtype] < 8 * result.itemsize and not np.isfinite(narrowed).all():
                raise too_large(name, dtype)
            return narrowed

        found = [slicer for _, slicer in slicers(shape, len(sources), job.method.granularity)]
        yield from map_ordered(merged, found, thread_count())

    def _array(self, entry: Entry) -> np.ndarray:
        """Memory-maps a tensor, read-only. A tensor without dimensions gets one of size 1."""
        shape = entry.shape or (1,)
        raw = self._files.raw(entry)
        aligned = entry.rows is not None or 8 * entry.start % BITS[entry.dtype] == 0
        return (raw if aligned else raw.copy()).view(entry.dtype).reshape(shape)


def _combined(job: Job, chunk: Chunk) -> Any:
    """Merges a chunk; rows that no source changed are copied from the base."""
    method, base = job.method, chunk.base
    if not method.propagates_nonfinite:
        check_sources(job.names, chunk)
    changed = None
    if method.preserves_base_rows and base is not None and base.ndim > 1:
        changed = changed_rows(chunk.sources, base)
    if changed is None or base is None:
        merged: Any = method.combine(chunk, job.parameters)
    else:
        merged = np.array(base)
        if changed.any():
            sources = [source[changed] for source in chunk.sources]
            merged[changed] = method.combine(replace(chunk, sources=sources, base=base[changed]), job.parameters)
    if job.scale != 1:
        merged = scaled(merged, base, job.scale)
    if not all_finite(merged):
        if method.propagates_nonfinite:
            check_sources(job.names, chunk)
        check_result(merged, chunk.name, method.name)
    return merged
