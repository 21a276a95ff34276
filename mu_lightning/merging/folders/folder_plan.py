"""A merge of model folders, validated from headers and configs."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mu_lightning.merging.engine.checks import check_same_tensors, missing_from_base
from mu_lightning.merging.engine.dtypes import BITS, is_float, promoted
from mu_lightning.merging.engine.job import Job, Override, check_overrides, check_scales, plan_job
from mu_lightning.merging.engine.slicing import chunk_size
from mu_lightning.merging.engine.thread_pool import thread_count
from mu_lightning.merging.folders.alignment import aligned_base, aligned_sources
from mu_lightning.merging.folders.model_folders import (
    SINGLE,
    ModelFolder,
    check_same_models,
    check_ties,
    open_folder,
)
from mu_lightning.merging.folders.safetensor_files import Kind, tensor_bytes
from mu_lightning.merging.folders.same_tokenizer import check_same_tokenizer
from mu_lightning.merging.method import Method
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.file_stamps import Identity, identity_of
from mu_lightning.utilities.files import refuse_existing

if TYPE_CHECKING:
    from torch import Tensor

OUTPUT_DTYPES = ("float32", "float16", "bfloat16", "float64")
SHARD_BYTES = 5_000_000_000


@dataclass(frozen=True)
class FolderPlan:
    """A merge of model folders, validated from headers and configs.

    Attributes:
        job: the merge.
        folders: source name -> opened model folder.
        base: opened folder of the base model, if the method uses one.
        output: folder to write.
        tensors: tensor name -> dtype and shape of the result.
        statistics: data-dependent statistics of the sources.
        dtype: requested dtype, None for the sources' dtype.
        max_shard_size: maximum bytes of tensors in a shard.
        alignment: what was done to make the folders comparable, a line each.
        identities: what the files of the sources and the base were when they were opened.
    """

    job: Job
    folders: Mapping[str, ModelFolder]
    base: ModelFolder | None
    output: Path
    tensors: Mapping[str, Kind]
    statistics: "Mapping[str, Mapping[str, Tensor]] | None" = None
    dtype: str | None = None
    max_shard_size: int = SHARD_BYTES
    alignment: tuple[str, ...] = ()
    identities: Mapping[Path, Identity] = field(default_factory=dict)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the merge should know, a line each."""
        missing = sorted(self.job.missing_in_base)
        what = "averaged" if self.job.method.sees_base else "not scaled"
        return (*self.alignment, *([f"{what} (missing in the base): {', '.join(missing)}"] if missing else []))

    @property
    def shards(self) -> dict[str, list[str]]:
        """File name -> tensors: a single file, or shards of at most `max_shard_size`."""
        groups: list[list[str]] = [[]]
        filled = 0
        for name, tensor in self.tensors.items():
            if groups[-1] and filled + tensor_bytes(tensor) > self.max_shard_size:
                groups.append([])
                filled = 0
            groups[-1].append(name)
            filled += tensor_bytes(tensor)
        if len(groups) == 1:
            return {SINGLE: groups[0]}
        return {f"model-{index:05d}-of-{len(groups):05d}.safetensors": names for index, names in enumerate(groups, 1)}

    @property
    def bytes_read(self) -> int:
        """Bytes to read: all sources and the base."""
        every = [*self.folders.values(), *([self.base] if self.base else [])]
        return sum(entry.stop - entry.start for folder in every for entry in folder.tensors.values())

    @property
    def bytes_written(self) -> int:
        """Bytes to write."""
        return sum(map(tensor_bytes, self.tensors.values()))

    @property
    def peak_memory(self) -> int:
        """Estimated peak memory of the merge in bytes, without the file cache.

        A method that needs whole tensors keeps several copies of the largest one; other methods keep a chunk of each
        source per thread; order statistics keep samples of some sources.
        """
        largest = max(math.prod(shape) for _, shape in self.tensors.values())
        sources, method = len(self.folders), self.job.method
        wide = 8 if any(dtype == "float64" for dtype, _ in self.tensors.values()) else 4
        if method.granularity == "tensor":
            first = next(iter(self.folders.values()))
            converted = any(BITS[entry.dtype] != 8 * wide for entry in first.tensors.values())
            held = method.tensors_in_memory or sources + 4
            return int((held + converted) * largest * wide)
        elements = sum(math.prod(shape) for _, shape in self.tensors.values())
        sorting = 12 if method.granularity == "rows" else 0  # int64 ranks and their order
        chunk = (2 * sources + 6 + sorting) * min(largest, chunk_size(sources)) * thread_count() * wide
        if not method.uses_order_statistics:
            return chunk
        from mu_lightning.merging.methods.shared.order_statistics import AT_ONCE, SAMPLE

        return chunk + min(SAMPLE, elements) * min(sources, AT_ONCE) * wide * 3 // 2

    def describe(self) -> str:
        """Describes the plan in text: sources, parameters, sizes and output."""
        job = self.job
        parameters = ", ".join(f"{key}={value}" for key, value in dataclasses.asdict(job.parameters).items())
        base = "none" if self.base is None else str(self.base.path)
        dtypes = sorted({dtype for dtype, _ in self.tensors.values()})
        lines = [
            f"plan: {job.method.name} ({parameters or 'no parameters'}), seed {job.seed}",
            *(
                f"  {name}  weight {weight:.6f}  {self.folders[name].path}"
                for name, weight in zip(job.names, job.weights, strict=True)
            ),
            f"  base: {base}",
            *(f"  {note}" for note in self.notes),
            *(
                f"  where {each.pattern}: {dict(each.weights or {}) | dict(each.parameters or {})}"
                for each in job.overrides
            ),
            f"  {len(self.tensors)} tensors, {self.bytes_read / 1e6:,.1f} MB to read, "
            f"{self.bytes_written / 1e6:,.1f} MB to write as {', '.join(dtypes)}",
            f"  estimated peak memory: {self.peak_memory / 1e6:,.0f} MB in addition to the program",
            f"  to: {self.output}" + (f", {len(self.shards)} files of weights" if len(self.shards) > 1 else ""),
        ]
        return "\n".join(lines)


def plan_folders(
    method: str | Method,
    folders: Mapping[str, Path],
    weights: Mapping[str, float],
    output: Path,
    *,
    base: Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    overrides: Sequence[Override] = (),
    statistics: "Mapping[str, Mapping[str, Tensor]] | None" = None,
    dtype: str | None = None,
    seed: int = 0,
    device: str | None = None,
    max_shard_size: int = SHARD_BYTES,
) -> FolderPlan:
    """Validates a merge of model folders from headers and configs, without reading tensors.

    For arguments and errors see `merge_folders`; NaN and infinity are detected during the merge.
    """
    job = plan_job(
        method,
        weights,
        list(folders),
        has_base=base is not None,
        has_statistics=statistics is not None,
        parameters=parameters,
        overrides=overrides,
        seed=seed,
        device=_checked_device(device),
    )
    if dtype is not None and dtype not in OUTPUT_DTYPES:
        raise unknown("dtype", dtype, OUTPUT_DTYPES)
    refuse_existing(output)
    opened, alignment = aligned_sources({name: open_folder(path) for name, path in folders.items()})
    signatures = {name: folder.signatures for name, folder in opened.items()}
    check_same_tensors(signatures)
    check_same_models(opened)
    for name, model in opened.items():
        check_ties(name, model)
    first, folder = next(iter(opened.items()))
    if not folder.tensors:
        raise UserError(f"{folder.path} holds no tensors")
    check_overrides(overrides, folder.tensors)
    opened_base = None
    if base is not None and job.sees_base:
        opened_base, changes = aligned_base(open_folder(base), folder)
        alignment += changes
        job = replace(job, missing_in_base=missing_from_base(first, signatures[first], opened_base.signatures))
        check_scales(job, folder.tensors)
        check_same_tokenizer(first, folder.path, "the base", base, base=True)
    tensors = {
        name: (_result_dtype([signatures[source][name][1] for source in signatures], dtype), entry.shape)
        for name, entry in folder.tensors.items()
    }
    every = [*opened.values(), *([] if opened_base is None else [opened_base])]
    identities = {entry.path: identity_of(entry.path) for one in every for entry in one.tensors.values()}
    return FolderPlan(
        job, opened, opened_base, output, tensors, statistics, dtype, max_shard_size, tuple(alignment), identities
    )


def _result_dtype(dtypes: Sequence[str], asked: str | None) -> str:
    found = dtypes[0]
    if not is_float(found):
        return found
    for other in dtypes[1:]:
        found = promoted(found, other) or found  # `check_same_tensors` rejected other dtypes
    return asked or found


def _checked_device(device: str | None) -> str | None:
    if device in (None, "cpu"):  # where tensors that are read are anyway; torch is not needed to know that
        return None
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else None
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise UserError(f"unknown device '{device}': auto, cpu, cuda or cuda:<n>") from error
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"--device {device}: no CUDA device is available here")
    return device
