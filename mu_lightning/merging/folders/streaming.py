"""The streaming engine: merges model folders a piece of a tensor at a time, however large the models are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mu_lightning.merging.engine.dtypes import is_float
from mu_lightning.merging.engine.job import Override
from mu_lightning.merging.engine.piece_threads import keep_freed_memory
from mu_lightning.merging.folders.folder_plan import SHARD_BYTES, FolderPlan, plan_folders
from mu_lightning.merging.folders.folder_report import write_report
from mu_lightning.merging.folders.model_folders import INDEX
from mu_lightning.merging.folders.safetensor_files import layout, tensor_bytes, write_header, write_pieces
from mu_lightning.merging.folders.tokenizer_files import copy_tokenizer
from mu_lightning.merging.method import Method
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
        method: a registered method's name, or a method.
        folders: source name -> its folder (config.json, safetensors in one file or sharded, tokenizer).
        weights: source name -> its merge weight.
        output: the folder to write; it appears whole or not at all.
        base: the base model's folder, for methods that work on task vectors.
        parameters: the method's parameters, where they are not its defaults.
        overrides: other weights and parameters for tensors by name pattern.
        statistics: source name -> tensor name -> what the method needs to know from data.
        dtype: of the result's floating tensors; default: the sources' own.
        seed: the run's seed, for methods that draw.
        device: where to compute, ``cpu`` or ``cuda``.
        max_shard_size: bytes of tensors in one file of the result; a larger tensor has a file of its own.
        progress: whether to show a progress bar.
        details: what else is known of the merge (target, similarities, ...), for its card and ``merge_details``.

    Returns:
        The folder written: config, weights, tokenizer, model card, ``merge_details.txt`` and ``merge_details.json``.

    Raises:
        UserError: what `merge_tensors` refuses; no folder, a pickle, a broken or truncated file; label maps, configs or
            tokenizers that differ; an output that exists; a result too large for `dtype`.
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
    """Carries out what `plan_folders` validated; see `merge_folders`."""
    keep_freed_memory()
    folder = next(iter(plan.folders.values()))
    with atomic_folder(plan.output) as output, _Bar(plan.bytes_written, progress) as bar:
        merge = _merge(plan, bar)
        shards = plan.shards
        for name, names in shards.items():
            part = {tensor: plan.tensors[tensor] for tensor in names}
            with (output / name).open("wb") as file, written_behind(file):
                write_header(file, part)
                for tensor in layout(part):
                    write_pieces(file, merge.pieces(tensor))
                    bar.merged(tensor_bytes(part[tensor]))
        if len(shards) > 1:
            where = {tensor: shard for shard, names in shards.items() for tensor in names}
            write_json(output / INDEX, {"metadata": {"total_size": plan.bytes_written}, "weight_map": where})
        dtype = next((dtype for dtype, _ in plan.tensors.values() if is_float(dtype)), "float32")
        config = {key: value for key, value in folder.config.items() if not key.startswith("_")}
        write_json(output / "config.json", config | {"dtype": dtype})
        copy_tokenizer(folder.path, output)
        write_report(output, plan, details or {})
    return plan.output


def _merge(plan: FolderPlan, bar: "_Bar") -> "ArrayMerge | TensorMerge":
    """What computes the merge: torch only where it is needed, as to import it can take longer than all the rest."""
    from mu_lightning.merging.folders.array_merge import ArrayMerge, suits

    if suits(plan):
        return ArrayMerge(plan)
    from mu_lightning.merging.folders.tensor_merge import TensorMerge

    return TensorMerge(plan, bar.surveyed)


class _Bar:
    """Progress on standard error: what is merged, and how far a survey goes through what it looks at."""

    def __init__(self, total: int, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not shown)
        self._merging = self._progress.add_task("merging", total=total)
        self._surveying = self._progress.add_task("surveying", visible=False)

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._progress.stop()

    def merged(self, size: int) -> None:
        """So many bytes more of the result are there."""
        self._progress.advance(self._merging, size)

    def surveyed(self, what: str, done: int, total: int) -> None:
        """A survey's pass through `what` has done so many of its pieces."""
        self._progress.update(
            self._surveying, description=f"surveying {what}", completed=done, total=total, visible=done < total
        )
