"""The streaming engine: merges model folders chunk by chunk, with memory independent of the size of the models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mu_lightning.merging.engine.dtypes import is_float
from mu_lightning.merging.engine.job import Override
from mu_lightning.merging.engine.thread_pool import keep_freed_memory
from mu_lightning.merging.folders.folder_plan import SHARD_BYTES, FolderPlan, plan_folders
from mu_lightning.merging.folders.folder_report import write_report
from mu_lightning.merging.folders.model_folders import INDEX
from mu_lightning.merging.folders.safetensor_files import layout, tensor_bytes, write_chunks, write_header
from mu_lightning.merging.folders.tokenizer_files import copy_tokenizer
from mu_lightning.merging.method import Method
from mu_lightning.utilities.file_stamps import check_same
from mu_lightning.utilities.files import atomic_folder, write_json, written_behind

if TYPE_CHECKING:
    from torch import Tensor

    from mu_lightning.merging.folders.array_merge import ArrayMerge
    from mu_lightning.merging.folders.tensor_merge import TensorMerge


def merge_folders(
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
    progress: bool = True,
    details: Mapping[str, Any] | None = None,
) -> Path:
    """Merges model folders in Hugging Face layout into a new one.

    Args:
        method: name of a registered method, or a method.
        folders: source name -> model folder (config.json, safetensors in one file or sharded, tokenizer).
        weights: merge weight of each source.
        output: folder to write, atomically.
        base: folder of the base model, for methods that use task vectors.
        parameters: parameters of the method that differ from the defaults.
        overrides: weights and parameters for tensors that match a name pattern.
        statistics: data-dependent statistics: source name -> tensor name -> tensor.
        dtype: dtype of the floating tensors of the result; default: the sources' dtype.
        seed: random seed, for stochastic methods.
        device: device of the computation: ``cpu``, ``cuda`` or, for a GPU if there is one, ``auto``.
        max_shard_size: maximum bytes of tensors in a shard; a larger tensor has a shard of its own.
        progress: whether to show a progress bar.
        details: further metadata of the merge (target, similarities, ...) for the model card and ``merge_details``.

    Returns:
        The output folder: config, weights, tokenizer, model card, ``merge_details.txt`` and ``merge_details.json``.

    Raises:
        UserError: as of `merge_tensors`; a missing folder; a pickle; a corrupt or truncated file; label maps, configs
            or tokenizers that differ; an existing output; a result that overflows `dtype`.
    """
    plan = plan_folders(
        method,
        folders,
        weights,
        output,
        base=base,
        parameters=parameters,
        overrides=overrides,
        statistics=statistics,
        dtype=dtype,
        seed=seed,
        device=device,
        max_shard_size=max_shard_size,
    )
    return run_plan(plan, progress=progress, details=details)


def run_plan(plan: FolderPlan, *, progress: bool = True, details: Mapping[str, Any] | None = None) -> Path:
    """Runs a merge that `plan_folders` validated; see `merge_folders`."""
    keep_freed_memory()
    folder = next(iter(plan.folders.values()))
    with atomic_folder(plan.output) as output, _Bar(plan.bytes_written, progress) as bar:
        merge = _merge(plan, bar)
        shards = plan.shards
        for name, names in shards.items():
            shard = {tensor: plan.tensors[tensor] for tensor in names}
            with (output / name).open("wb") as file, written_behind(file):
                write_header(file, shard)
                for tensor in layout(shard):
                    write_chunks(file, merge.chunks(tensor))
                    bar.merged(tensor_bytes(shard[tensor]))
        if len(shards) > 1:
            where = {tensor: shard for shard, names in shards.items() for tensor in names}
            write_json(output / INDEX, {"metadata": {"total_size": plan.bytes_written}, "weight_map": where})
        dtype = next((dtype for dtype, _ in plan.tensors.values() if is_float(dtype)), "float32")
        config = {key: value for key, value in folder.config.items() if not key.startswith("_") and key != "auto_map"}
        write_json(output / "config.json", config | {"dtype": dtype})
        copy_tokenizer(folder.path, output)
        write_report(output, plan, details or {})
        check_same(plan.identities)
    return plan.output


def _merge(plan: FolderPlan, bar: "_Bar") -> "ArrayMerge | TensorMerge":
    """Chooses NumPy or torch. Importing torch can take longer than the merge."""
    from mu_lightning.merging.folders.array_merge import ArrayMerge, suits

    if suits(plan):
        return ArrayMerge(plan)
    from mu_lightning.merging.folders.tensor_merge import TensorMerge

    return TensorMerge(plan, bar.statistics)


class _Bar:
    """Progress bars on standard error: one for the merge, one for global statistics."""

    def __init__(self, total: int, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not shown)
        self._merging = self._progress.add_task("merging", total=total)
        self._statistics = self._progress.add_task("statistics", visible=False)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def merged(self, size: int) -> None:
        """Advances the merge by so many bytes."""
        self._progress.advance(self._merging, size)

    def statistics(self, what: str, done: int, total: int) -> None:
        """Updates the progress of a statistics pass."""
        self._progress.update(
            self._statistics,
            description=f"computing statistics of {what}",
            completed=done,
            total=total,
            visible=done < total,
        )
