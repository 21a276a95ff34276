"""Chunks of a tensor of all sources: where they are, and loading them for a merge method."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mu_lightning.merging.engine.finite import check_sources
from mu_lightning.merging.engine.frozen_rows import FrozenRows
from mu_lightning.merging.engine.job import Job
from mu_lightning.merging.engine.slicing import Slicer, chunk_size, rows_per_chunk, slicers
from mu_lightning.merging.engine.unchanged import changed_rows
from mu_lightning.merging.method import Chunk, LazySequence
from mu_lightning.merging.methods.shared.random_masks import random_int16


@dataclass(frozen=True)
class SourceTensors:
    """One tensor of every source and of the base, in memory or memory-mapped.

    `frozen_rows` is set where sources, base and statistics hold some rows only.
    """

    name: str
    sources: Sequence[Tensor]
    base: Tensor | None = None
    statistics: Sequence[Tensor | None] | None = None
    frozen_rows: FrozenRows | None = None

    @property
    def full_shape(self) -> torch.Size:
        """Shape of the tensor including frozen rows."""
        return self.sources[0].shape if self.frozen_rows is None else self.frozen_rows.table.shape

    def restores_frozen_rows(self, job: Job) -> bool:
        """Whether the method requires the frozen rows, too."""
        return self.frozen_rows is not None and not job.method.supports_partial_rows


@dataclass(frozen=True)
class ChunkSpec:
    """Position of a chunk: its first element, and the function that slices it out of a tensor."""

    job: Job
    tensors: SourceTensors
    start: int
    slicer: Slicer


class ChunkLoader:
    """Slices tensors and converts them to the device and dtype of the computation."""

    def __init__(self, spec: ChunkSpec) -> None:
        self._slicer = spec.slicer
        first = spec.tensors.sources[0]
        self.device = spec.job.device or first.device
        wide = any(source.dtype == torch.float64 for source in spec.tensors.sources)
        self.dtype = torch.float64 if wide else torch.float32

    def __call__(self, tensor: Tensor | None) -> Tensor:
        assert tensor is not None
        return self._slicer(tensor).to(device=self.device, dtype=self.dtype)


def load_chunk(spec: ChunkSpec, *, check: bool) -> tuple[Chunk, Tensor | None]:
    """Loads a chunk for its method; also returns the indices of the changed rows if unchanged rows are skipped."""
    job, tensors, load = spec.job, spec.tensors, ChunkLoader(spec)

    def each(make: Callable[[Tensor], Tensor]) -> Sequence[Tensor]:
        if job.method.granularity == "tensor":  # all sources at once would not fit into memory
            return LazySequence(len(tensors.sources), lambda index: make(tensors.sources[index]))
        return [make(source) for source in tensors.sources]

    sources = each(load)
    shape = sources[0].shape
    start = load(tensors.base) if tensors.base is not None and job.sees_base else None
    if check:
        check_sources(job.names, Chunk(tensors.name, sources, job.weights, start))
    base = start if job.method.sees_base else None  # a scale is the engine's: the method merges as without a base
    # A statistic of the tensor's own shape is sliced like the tensor; any other (a Gram matrix) is passed whole.
    whole = tensors.sources[0].shape
    statistics = tensors.statistics and [
        None if one is None else load(one) if one.shape == whole else one.to(load.device, load.dtype)
        for one in tensors.statistics
    ]
    changed = None
    if job.method.preserves_base_rows and base is not None and base.dim() > 1:
        changed = _changed_rows(sources, base)
    if changed is not None and base is not None:
        sources, base = each(lambda source: load(source)[changed]), base[changed]

    def random_integers(index: int) -> Tensor:
        numbers = random_int16(spec.start, shape.numel(), job.seed, tensors.name, job.names[index]).view(shape)
        return numbers if changed is None else numbers[changed.cpu()]

    return Chunk(tensors.name, sources, job.weights, base, statistics, random_integers=random_integers), changed


def _changed_rows(sources: Sequence[Tensor], base: Tensor) -> Tensor | None:
    """Indices of the rows that at least one source changed, or None for all rows."""
    if base.device.type != "cpu":
        found = changed_rows(sources, base)
    else:  # numpy compares and reduces several times faster than torch does on a CPU
        arrays = LazySequence(len(sources), lambda index: sources[index].detach().numpy())
        array = changed_rows(arrays, base.detach().numpy())
        found = None if array is None else torch.from_numpy(array)
    return None if found is None else found.nonzero().squeeze(1)


def chunk_specs(job: Job, tensors: SourceTensors) -> list[ChunkSpec]:
    """Divides a tensor into chunks, according to the granularity of the method."""
    granularity, sources = job.method.granularity, len(tensors.sources)
    if tensors.frozen_rows is None or not tensors.restores_frozen_rows(job):
        return [ChunkSpec(job, tensors, *found) for found in slicers(tensors.sources[0].shape, sources, granularity)]
    shape = tensors.full_shape
    rows, width = rows_per_chunk(shape, sources)
    if len(shape) == 1 or granularity == "tensor" or shape.numel() <= chunk_size(sources):
        rows = shape[0]
    return [
        ChunkSpec(job, tensors, row * width, partial(tensors.frozen_rows.rows, row, row + rows))
        for row in range(0, shape[0], rows)
    ]
