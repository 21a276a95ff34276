"""What merges learn from texts in a sweep: each source's Fisher or Gram matrices once, shared by every merge of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from mu_lightning.approaches.evaluation_context import Bench, FileTensors, Scoring, Tensors
from mu_lightning.approaches.from_text.merge_data import MergeData, MergeTexts
from mu_lightning.approaches.from_text.merge_statistics import BATCH, collected, text_batches
from mu_lightning.approaches.from_text.modes import DEFAULT_MODES, MODES, Mode
from mu_lightning.approaches.tasks import Resources
from mu_lightning.data.batching import seed_of
from mu_lightning.data.encoding import concatenate
from mu_lightning.data.module import IntentDataModule
from mu_lightning.experiments.grid import Planned
from mu_lightning.merging.folders.folder_plan import plan_folders
from mu_lightning.merging.registry import find_method
from mu_lightning.results.results import Supervision
from mu_lightning.settings import DataSettings
from mu_lightning.utilities.checksums import has_checksum, write_checksum
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.files import atomic_file

if TYPE_CHECKING:
    from mu_lightning.approaches.one_shot import MergeTask

# What these must know of a source does not hang on the other sources: it is learned once and shared.
SHARED_KINDS = ("fisher", "regmean")


@dataclass(frozen=True)
class HeldTensors:
    """Tensors that are carried along, for workers that share no files."""

    tensors: Mapping[str, Tensor]

    def load(self) -> Mapping[str, Tensor]:
        """The tensors."""
        return self.tensors


@dataclass(frozen=True)
class LearningTask:
    """One source's Fisher diagonal or Gram matrices on some locales' train texts.

    Attributes:
        key: tells it apart by all that its result depends on.
        kind: ``fisher`` or ``regmean``.
        source: the model.
        locales: whose texts.
        seed: of the labels that a Fisher draws.
        folder: where the result goes; None to carry it back.
    """

    key: str
    kind: str
    source: str
    locales: tuple[str, ...]
    seed: int
    folder: Path | None
    resources: ClassVar[Resources] = Resources()

    @property
    def name(self) -> str:
        """What is shown while it runs."""
        return f"{self.kind} of {self.source} on {', '.join(self.locales)}"

    def run(self, bench: Bench) -> Tensors:
        """Learns it, unless an earlier run has left it."""
        from safetensors.torch import save_file

        path = None if self.folder is None else self.folder / f"{self.key}.safetensors"
        if path is not None and has_checksum(path):
            return FileTensors(path)
        found = {name: tensor.cpu().contiguous() for name, tensor in self._learn(bench).items()}
        if path is None:
            return HeldTensors(found)
        with atomic_file(path) as temporary:
            save_file(found, temporary)
        write_checksum(path)
        return FileTensors(path)

    def _learn(self, bench: Bench) -> dict[str, Tensor]:
        from mu_lightning.merging.statistics.fisher import fisher_diagonal
        from mu_lightning.merging.statistics.gram import gram_matrices

        model = bench.classifier(bench.state(self.source)).requires_grad_(self.kind == "fisher").model
        rows = concatenate({tag: bench.texts[tag] for tag in self.locales})
        device = torch.device(bench.device)
        if self.kind == "fisher":
            return fisher_diagonal(model, text_batches(rows, 1, device), seed_of(self.seed, "fisher", self.source))
        return gram_matrices(model, text_batches(rows, BATCH, device))


@dataclass(frozen=True)
class FolderLearning:
    """How a merge learns what is of this merge alone (RegMean++, AdaMerging): from its sources' folders.

    Attributes:
        folders: source -> model folder.
        base: the base's folder.
        data: which texts.
    """

    folders: Mapping[str, Path]
    base: Path | None
    data: MergeData

    def __call__(self, task: "MergeTask", bench: Bench) -> Mapping[str, Mapping[str, Tensor]]:
        """Source -> tensor name -> statistic."""
        with TemporaryDirectory() as scratch:
            plan = plan_folders(
                task.method,
                {name: self.folders[name] for name in task.sources},
                task.weights,
                Path(scratch) / "merged",
                base=self.base,
                parameters=task.parameters,
                statistics={},
                seed=task.seed,
                device=bench.device,
            )
            with collected(plan, MergeTexts(self.data, plan), progress=False) as statistics:
                return {name: dict(found) for name, found in statistics.items()}  # mapped: they outlive their files


@dataclass(frozen=True)
class Learning:
    """Which texts methods read that learn from texts.

    Attributes:
        mode: the ``target``'s, the ``sources``' own, or ``both``; None for each method's default.
        examples: train utterances of each locale.
        seed: of the labels that a Fisher draws.
    """

    mode: Mode | None = None
    examples: int = 100
    seed: int = 0

    def plain(self) -> dict[str, Any]:
        """Itself as plain values."""
        return asdict(self)

    def supervision(self, cell: Planned) -> Supervision:
        """What of its target a merge looks at."""
        if cell.method is None or not find_method(cell.method).needs_statistics:
            return "none"
        return "none" if self._mode(cell.method) == "sources" else "target-unlabelled"

    def wanted(self, cell: Planned) -> dict[str, tuple[str, str, tuple[str, ...]]]:
        """Source -> kind, source and locales of what a merge must know of it; empty where nothing is shared."""
        if cell.method not in SHARED_KINDS:
            return {}
        data = MergeData("", self._mode(cell.method), cell.target)
        return {source: (cell.method, source, data.locales(source)) for source in cell.sources}

    def tasks(self, merges: Sequence[Planned], folder: Path | None, bench: Bench) -> list[LearningTask]:
        """What must be learned for these merges, each thing once."""
        found: dict[tuple[str, str, tuple[str, ...]], LearningTask] = {}
        for cell in merges:
            for what in self.wanted(cell).values():
                found.setdefault(what, LearningTask(self._key(what, bench), *what, self.seed, folder))
        return list(found.values())

    def for_merge(self, cell: Planned, bench: Bench, scoring: Scoring) -> FolderLearning | None:
        """How a merge learns by itself, for a method that shares nothing with other merges."""
        if cell.method is None or not find_method(cell.method).needs_statistics or cell.method in SHARED_KINDS:
            return None
        data = MergeData(
            **scoring.corpus_values(),
            mode=self._mode(cell.method),
            target=cell.target,
            examples=self.examples,
            max_length=scoring.max_length,
        )
        folders = {name: bench.models[name] for name in cell.sources}
        paths = {name: found.path for name, found in folders.items() if isinstance(found, FileTensors)}
        return FolderLearning(paths, bench.base.path if isinstance(bench.base, FileTensors) else None, data)

    def with_texts(self, bench: Bench, scoring: Scoring, cells: Sequence[Planned], tokenizer: Any) -> Bench:
        """The bench with the texts that the cells' methods read, tokenized.

        Raises:
            UserError: an unknown mode, a number of examples below 1, or a locale that the corpus does not have.
        """
        if self.mode is not None and self.mode not in MODES:
            raise unknown("fisher data mode", str(self.mode), MODES)
        if self.examples < 1:
            raise UserError(f"num_fisher_examples is {self.examples}: at least 1 utterance is needed")
        learners = [cell for cell in cells if cell.method and cell.kind == "merge"]
        learners = [cell for cell in learners if find_method(cell.method or "").needs_statistics]
        tags = dict.fromkeys(
            tag
            for cell in learners
            for source in cell.sources
            for tag in MergeData(mode=self._mode(cell.method or ""), target=cell.target).locales(source)
        )
        if not tags:
            return bench
        corpus = scoring.open()
        for tag in tags:
            if tag not in corpus.locales:
                raise UserError(
                    f"{learners[0].method} learns from texts, but the corpus {corpus.name} has no locale {tag}: choose "
                    "another fisher_data_mode or leave the method out"
                )
        settings = DataSettings(**scoring.corpus_values(), max_length=scoring.max_length, limit_train=self.examples)
        data = IntentDataModule(corpus, tokenizer, settings)
        return replace(bench, texts={tag: data.encoded(tag, "train") for tag in tags})

    def _mode(self, method: str) -> Mode:
        return self.mode or DEFAULT_MODES.get(method, "target")

    def _key(self, what: tuple[str, str, tuple[str, ...]], bench: Bench) -> str:
        kind, source, locales = what
        digest = hashlib.sha256(f"{bench.fingerprints['models'][source]} {self.seed}".encode())
        for tag in locales:
            digest.update(bench.texts[tag].tokens.tobytes() + bench.texts[tag].offsets.tobytes())
        return f"{kind}_{source}_{'_'.join(locales)}_{digest.hexdigest()[:16]}"
