"""Computes data-dependent statistics for merges of model folders: Fisher, Gram matrices, coefficients."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mu_lightning.approaches.from_text.merge_data import MergeTexts
from mu_lightning.checkpoints import quiet_transformers
from mu_lightning.data.batching import seed_of
from mu_lightning.data.encoding import EncodedRows
from mu_lightning.loading import loaded_classifier
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.engine.job import Job
from mu_lightning.merging.folders.folder_plan import FolderPlan
from mu_lightning.merging.folders.mapped_files import MappedFiles, check_finite_folder
from mu_lightning.merging.folders.model_folders import ModelFolder
from mu_lightning.merging.folders.safetensor_files import read_header

State = Mapping[str, Tensor]
Batch = dict[str, Tensor]
BATCH = 16


@contextmanager
def collected(
    plan: FolderPlan, texts: MergeTexts, *, progress: bool = True
) -> Iterator[Mapping[str, Mapping[str, Tensor]]]:
    """Yields the statistics of a method: source name -> tensor name -> statistic.

    Statistics are in temporary files next to the output, so that those of one model are in memory at a time.
    """
    for name, opened in plan.folders.items():  # a corrupt model has no statistics
        check_finite_folder(name, opened)
    device = plan.job.device or torch.device("cpu")
    with _scratch(plan.output) as folder:
        stored = _Stored(folder)
        _COLLECTORS[plan.job.method.name](plan, texts, stored, device, _Bar(progress))
        yield stored.statistics(plan.job.names)


def mean_coefficients(statistics: Mapping[str, State]) -> dict[str, float]:
    """Returns the mean of AdaMerging's coefficients for each source."""
    return {name: float(np.mean([each.item() for each in found.values()])) for name, found in statistics.items()}


class _Stored:
    """Statistics in safetensors files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[tuple[str, Path]] = []

    def add(self, source: str, statistics: State) -> None:
        from safetensors.torch import save_file

        path = self._folder / f"{len(self._parts)}.safetensors"
        save_file({name: tensor.cpu().contiguous() for name, tensor in statistics.items()}, path)
        self._parts.append((source, path))

    def statistics(self, sources: Sequence[str]) -> dict[str, dict[str, Tensor]]:
        files = MappedFiles()
        found: dict[str, dict[str, Tensor]] = {source: {} for source in sources}
        for source, path in self._parts:
            found[source] |= {name: files.tensor(entry) for name, entry in read_header(path).items()}
        return found


class _Mapped(Mapping[str, Tensor]):
    """Memory-mapped state dict of a model folder."""

    def __init__(self, folder: ModelFolder, names: Collection[str] | None = None) -> None:
        self._entries = {name: entry for name, entry in folder.tensors.items() if names is None or name in names}
        self._files = MappedFiles()

    def __getitem__(self, name: str) -> Tensor:
        return self._files.tensor(self._entries[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class _Bar:
    """Progress bar over an iterable."""

    def __init__(self, shown: bool) -> None:
        self._shown = shown

    def __call__(self, items: Iterable[Any], what: str, total: int | None) -> Iterable[Any]:
        from rich.console import Console
        from rich.progress import track

        return track(items, what, total=total, console=Console(stderr=True), disable=not self._shown)


def _fisher(plan: FolderPlan, texts: MergeTexts, stored: _Stored, device: torch.device, bar: _Bar) -> None:
    from mu_lightning.merging.statistics.fisher import fisher_diagonal

    for source, folder in plan.folders.items():
        rows = texts.rows([source])
        batches = bar(text_batches(rows, 1, device), f"Fisher of {source}", len(rows))
        stored.add(source, fisher_diagonal(_model(folder, device), batches, seed_of(plan.job.seed, "fisher", source)))


def _gram(plan: FolderPlan, texts: MergeTexts, stored: _Stored, device: torch.device, bar: _Bar) -> None:
    from mu_lightning.merging.statistics.gram import gram_matrices

    for source, folder in plan.folders.items():
        rows = texts.rows([source])
        batches = bar(text_batches(rows, BATCH, device), f"Gram matrices of {source}", -(-len(rows) // BATCH))
        stored.add(source, gram_matrices(_model(folder, device), batches))


def _merged_gram(plan: FolderPlan, texts: MergeTexts, stored: _Stored, device: torch.device, bar: _Bar) -> None:
    from mu_lightning.merging.statistics.gram import merged_gram_matrices

    states: dict[str, State] = {source: _Mapped(folder) for source, folder in plan.folders.items()}
    job, model = plan.job, _model(next(iter(plan.folders.values())), device)

    def merge(names: Sequence[str], grams: Mapping[str, State]) -> dict[str, Tensor]:
        return _merged(job, names, states, grams)

    batches = {source: list(text_batches(texts.rows([source]), BATCH, device)) for source in states}
    steps = merged_gram_matrices(model, states, batches, merge)
    blocks = plan.folders[job.names[0]].config.get("num_hidden_layers")
    for grams in bar(steps, "merging block by block", None if blocks is None else int(blocks) + 1):
        for source, found in grams.items():
            stored.add(source, found)


def _coefficients(plan: FolderPlan, texts: MergeTexts, stored: _Stored, device: torch.device, bar: _Bar) -> None:
    from mu_lightning.merging.statistics.coefficients import learned_coefficients

    assert plan.base is not None
    job, parameters = plan.job, plan.job.parameters
    states: dict[str, State] = {source: _Mapped(folder) for source, folder in plan.folders.items()}
    names = next(iter(states.values()))
    fixed = _merged(job, sorted(job.missing_in_base), states, None)
    base = _Mapped(plan.base, [name for name in names if name not in job.missing_in_base])
    rows, steps = texts.rows(job.names), parameters.iterations
    batches = bar(_endless(rows, steps, job.seed, device), "learning coefficients", steps)
    model = _model(next(iter(plan.folders.values())), device)
    for source, found in learned_coefficients(model, base, states, fixed, batches, parameters).items():
        stored.add(source, found)


_Collector = Callable[[FolderPlan, MergeTexts, _Stored, torch.device, _Bar], None]
_COLLECTORS: dict[str, _Collector] = {
    "fisher": _fisher,
    "regmean": _gram,
    "regmean_plus": _merged_gram,
    "adamerging": _coefficients,
}


def _merged(
    job: Job, names: Sequence[str], states: Mapping[str, State], statistics: Mapping[str, State] | None
) -> dict[str, Tensor]:
    """Merges some tensors; those that the base lacks are averaged."""
    if not names:
        return {}
    own = replace(job, overrides=tuple(o for o in job.overrides if any(fnmatchcase(n, o.pattern) for n in names)))
    average = statistics is None
    return merge_tensors(
        "linear" if average else own.method,
        {source: {name: state[name] for name in names} for source, state in states.items()},
        dict(zip(own.names, own.weights, strict=True)),
        parameters=None if average else asdict(own.parameters),
        overrides=[replace(o, parameters=None) if average else o for o in own.overrides],
        statistics=statistics,
        seed=own.seed,
    )


def _model(folder: ModelFolder, device: torch.device) -> nn.Module:
    with quiet_transformers():
        model: nn.Module = loaded_classifier(folder)
    return model.to(device)


def text_batches(rows: EncodedRows, size: int, device: torch.device) -> Iterator[Batch]:
    """Batches texts, sorted by length."""
    order = np.argsort(rows.lengths, kind="stable")
    for start in range(0, len(order), size):
        yield _inputs(rows, order[start : start + size].tolist(), device)


def _endless(rows: EncodedRows, steps: int, seed: int, device: torch.device) -> Iterator[Batch]:
    """Yields a number of batches of `BATCH` texts, reshuffled after each pass."""
    random = np.random.default_rng(seed_of(seed, "texts"))
    orders = (random.permutation(len(rows)) for _ in itertools.count())
    places = itertools.chain.from_iterable(orders)
    for _ in range(steps):
        yield _inputs(rows, list(itertools.islice(places, min(BATCH, len(rows)))), device)


def _inputs(rows: EncodedRows, places: Sequence[int], device: torch.device) -> Batch:
    batch = rows.batch(places)
    return {"input_ids": batch["input_ids"].to(device), "attention_mask": batch["attention_mask"].to(device)}


@contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """Temporary folder next to the output."""
    output.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent) as folder:
        yield Path(folder)
