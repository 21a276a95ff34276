"""Applies a merge method, and its global statistics, to chunks; shared by the in-memory and the streaming engine."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mu_lightning.merging.engine.chunks import ChunkLoader, ChunkSpec, SourceTensors, chunk_specs, load_chunk
from mu_lightning.merging.engine.finite import all_finite, check_result, overflow_named, unequal
from mu_lightning.merging.engine.job import Job
from mu_lightning.merging.engine.torch_threads import map_tensors
from mu_lightning.merging.method import Chunk, Chunks
from mu_lightning.merging.methods.shared.scaling import scaled

# Progress callback of a statistics pass: (what is processed, chunks done, chunks in all).
ProgressCallback = Callable[[str, int, int], None]


def no_progress(what: str, done: int, total: int) -> None:
    """No-op progress callback."""


def merged_chunks(
    job: Job, tensors: SourceTensors, statistics: Any = None, progress: ProgressCallback = no_progress
) -> Iterator[Tensor]:
    """Yields the merged tensor in consecutive chunks, in the dtype of the computation.

    Args:
        job: the merge.
        tensors: the tensor of every source, of a floating dtype.
        statistics: result of `model_statistics`.
        progress: called while global statistics of this tensor are computed.

    Raises:
        UserError: a NaN or an infinity in a source, or in the result.
    """
    job = job.of(tensors.name)
    method = job.method
    if method.global_statistics is not None and method.statistics_scope(job.parameters) == "tensor":
        with overflow_named(tensors.name, method.name):
            statistics = method.global_statistics(_chunks([(job, tensors)], progress), job.parameters)

    def combine(spec: ChunkSpec) -> Tensor:
        chunk, changed = load_chunk(spec, check=method.global_statistics is None and not method.propagates_nonfinite)
        with overflow_named(tensors.name, method.name):
            if changed is None:
                merged = method.combine(replace(chunk, global_statistics=statistics), job.parameters)
            else:
                merged = ChunkLoader(spec)(tensors.base)
                if chunk.sources[0].numel():
                    found = method.combine(replace(chunk, global_statistics=statistics), job.parameters)
                    merged = merged.index_copy(0, changed, found)
            if job.scale != 1:
                merged = scaled(merged, ChunkLoader(spec)(tensors.base), job.scale)
        if not all_finite(merged):
            if method.propagates_nonfinite:
                load_chunk(spec, check=True)  # names the source
            check_result(merged, tensors.name, method.name)
        return merged

    chunks = map_tensors(combine, chunk_specs(job, tensors), job.device or tensors.sources[0].device)
    if tensors.frozen_rows is not None and tensors.restores_frozen_rows(job):
        chunks = tensors.frozen_rows.trimmed(chunks)
    yield from chunks


def model_statistics(job: Job, all_tensors: Iterable[SourceTensors], progress: ProgressCallback = no_progress) -> Any:
    """Computes the method's global statistics of the whole model; None if the method has none."""
    method = job.method
    if method.global_statistics is None:
        return None
    candidates = [(job.of(tensors.name), tensors) for tensors in all_tensors if tensors.sources[0].is_floating_point()]
    seen = [
        (own, tensors)
        for own, tensors in candidates
        if own.method is method and method.statistics_scope(own.parameters) == "model"
    ]
    with overflow_named("all tensors", method.name):
        return method.global_statistics(_chunks(seen, progress), seen[0][0].parameters) if seen else None


def _chunks(all_tensors: Sequence[tuple[Job, SourceTensors]], progress: ProgressCallback) -> Chunks:
    checked = False
    what = all_tensors[0][1].name if len(all_tensors) == 1 else "all tensors"

    def chunks(function: Callable[[Chunk], Any]) -> Iterator[Any]:
        nonlocal checked

        def seen(spec: ChunkSpec) -> tuple[bool, Any]:
            chunk, _ = load_chunk(spec, check=not checked)
            return (True, function(chunk)) if chunk.sources[0].numel() else (False, None)

        specs = [spec for job, tensors in all_tensors for spec in chunk_specs(job, tensors)]
        device = all_tensors[0][0].device or all_tensors[0][1].sources[0].device
        for done, (there, result) in enumerate(map_tensors(seen, specs, device), 1):
            progress(what, done, len(specs))
            if there:
                yield result
        checked = True

    def only(chosen: Sequence[int]) -> Chunks:
        return _chunks([(_job_of(job, chosen), _tensors_of(tensors, chosen)) for job, tensors in all_tensors], progress)

    total = sum(tensors.full_shape.numel() for _, tensors in all_tensors)
    return Chunks(chunks, total, len(all_tensors[0][1].sources), only)


def _job_of(job: Job, chosen: Sequence[int]) -> Job:
    return replace(job, names=tuple(job.names[i] for i in chosen), weights=tuple(job.weights[i] for i in chosen))


def _tensors_of(tensors: SourceTensors, chosen: Sequence[int]) -> SourceTensors:
    statistics = tensors.statistics and [tensors.statistics[index] for index in chosen]
    return replace(tensors, sources=[tensors.sources[index] for index in chosen], statistics=statistics)


def equal_buffer(names: Sequence[str], tensors: SourceTensors) -> Tensor:
    """Returns an integer or boolean tensor, which all sources must share.

    Raises:
        UserError: the tensor differs between two sources.
    """
    first = tensors.sources[0]
    for name, other in zip(names[1:], tensors.sources[1:], strict=True):
        if not torch.equal(first, other.to(first.device)):
            raise unequal(tensors.name, str(first.dtype).removeprefix("torch."), names[0], name)
    return first


def promoted(sources: Sequence[Tensor]) -> torch.dtype:
    """Returns the promoted floating dtype of all sources."""
    dtype = sources[0].dtype
    for source in sources[1:]:
        dtype = torch.promote_types(dtype, source.dtype)
    return dtype
