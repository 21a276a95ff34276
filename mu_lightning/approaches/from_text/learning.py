"""What merges learn from text in a sweep: each source's Fisher or Gram matrices once, shared by every merge of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from mu_lightning.approaches.base import Cell
from mu_lightning.approaches.evaluation_context import EvaluationContext, FileTensors, Tensors
from mu_lightning.approaches.from_text.merge_data import MergeData, MergeTexts
from mu_lightning.approaches.from_text.merge_statistics import BATCH, collected, text_batches
from mu_lightning.approaches.one_shot import OneShot
from mu_lightning.approaches.tasks import ONE_THREAD, Resources
from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.data.batching import seed_of
from mu_lightning.data.encoding import concatenate
from mu_lightning.data.module import IntentDataModule
from mu_lightning.data.registry import open_corpus
from mu_lightning.merging.folders.folder_plan import plan_folders
from mu_lightning.utilities.checksums import has_checksum, write_checksum
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.file_stamps import check_watched
from mu_lightning.utilities.files import atomic_file

# The statistics of these methods depend on one source only: they are computed once and shared.
SHARED_KINDS = ("fisher", "regmean")


@dataclass(frozen=True)
class HeldTensors:
    """In-memory tensors, for workers without shared files."""

    tensors: Mapping[str, Tensor]

    def load(self) -> Mapping[str, Tensor]:
        """Returns the tensors."""
        return self.tensors


@dataclass(frozen=True)
class LearningTask:
    """Task that computes the Fisher diagonal or Gram matrices of one source on train texts.

    Attributes:
        key: identifies all inputs of the result.
        kind: ``fisher`` or ``regmean``.
        source: the source's locale.
        model: its model in the context.
        texts: whose text, and how many utterances of each.
        seed: of the labels that a Fisher draws.
        folder: where the result goes; None to carry it back.
        resources: what it takes while it runs.
    """

    key: str
    kind: str
    source: str
    model: str
    texts: tuple[tuple[str, int], ...]
    seed: int
    folder: Path | None
    resources: Resources = ONE_THREAD

    @property
    def name(self) -> str:
        """Name in the progress display."""
        return f"{self.kind} of {self.source} on {', '.join(tag for tag, _ in self.texts)}"

    def run(self, context: EvaluationContext) -> Tensors:
        """Computes the result, unless it exists."""
        from safetensors.torch import save_file

        path = None if self.folder is None else self.folder / f"{self.key}.safetensors"
        if path is not None and has_checksum(path):
            return FileTensors(path)
        found = {name: tensor.cpu().contiguous() for name, tensor in self._learn(context).items()}
        check_watched()
        if path is None:
            return HeldTensors(found)
        with atomic_file(path) as temporary:
            save_file(found, temporary)
        write_checksum(path)
        return FileTensors(path)

    def _learn(self, context: EvaluationContext) -> dict[str, Tensor]:
        from mu_lightning.merging.statistics.fisher import fisher_diagonal
        from mu_lightning.merging.statistics.gram import gram_matrices

        model = context.classifier(context.state(self.model)).requires_grad_(self.kind == "fisher").model
        rows = concatenate({tag: context.texts[tag, count] for tag, count in self.texts})
        device = torch.device(context.device)
        if self.kind == "fisher":
            return fisher_diagonal(model, text_batches(rows, 1, device), seed_of(self.seed, "fisher", self.source))
        return gram_matrices(model, text_batches(rows, BATCH, device))


@dataclass(frozen=True)
class FolderLearning:
    """Computes statistics that are specific to a merge (RegMean++, AdaMerging).

    Attributes:
        folders: source -> model folder.
        base: the base's folder.
        data: which text.
    """

    folders: Mapping[str, Path]
    base: Path | None
    data: MergeData

    def __call__(self, cell: Cell, context: EvaluationContext) -> Mapping[str, Mapping[str, Tensor]]:
        """Returns source -> tensor name -> statistic."""
        assert isinstance(cell.approach, OneShot)
        with TemporaryDirectory() as scratch:
            plan = plan_folders(
                cell.approach.method,
                {name: self.folders[name] for name in cell.sources},
                cell.weights,
                Path(scratch) / "merged",
                base=self.base,
                parameters=cell.approach.parameters,
                statistics={},
                seed=cell.seed,
                device=context.device,
            )
            with collected(plan, MergeTexts(self.data, plan), progress=False) as statistics:
                return {
                    name: dict(found) for name, found in statistics.items()
                }  # memory-mapped tensors outlive their files


def shared_learning(
    cell: Cell, models: Mapping[str, str], context: EvaluationContext, folder: Path | None
) -> dict[str, LearningTask]:
    """Source -> the task that learns what a merge must know of it, where other merges share that; else empty.

    Equal tasks are of equal `key`.

    Args:
        cell: the merge's cell.
        models: source -> its model in the context.
        context: holds models and text.
        folder: where results go; None where workers share no files.
    """
    approach = cell.approach
    if not isinstance(approach, OneShot) or approach.method not in SHARED_KINDS:
        return {}
    found = {}
    for source in cell.sources:
        texts = tuple((tag, approach.num_examples) for tag in approach.text_of(cell.target, source))
        key = _key(approach.method, models[source], texts, cell.seed, context)
        found[source] = LearningTask(key, approach.method, source, models[source], texts, cell.seed, folder)
    return found


def own_learning(cell: Cell, models: Mapping[str, str], context: EvaluationContext) -> FolderLearning | None:
    """Returns the computation of statistics for methods without shared statistics."""
    approach = cell.approach
    if not isinstance(approach, OneShot) or approach.text_mode is None or approach.method in SHARED_KINDS:
        return None
    settings = cell.problem.data
    data = MergeData(
        **settings.corpus_values(),
        mode=approach.text_mode,
        target=cell.target,
        examples=approach.num_examples,
        max_length=settings.max_length,
    )
    found = {name: context.models[models[name]] for name in cell.sources}
    folders = {name: tensors.path for name, tensors in found.items() if isinstance(tensors, FileTensors)}
    return FolderLearning(folders, context.base.path if isinstance(context.base, FileTensors) else None, data)


def with_text(context: EvaluationContext, cells: Sequence[Cell]) -> EvaluationContext:
    """The context with the text that the cells' methods read, tokenized.

    Raises:
        UserError: a locale whose text is read is not in the corpus.
    """
    wanted: dict[tuple[str, int], Cell] = {}
    for cell in cells:
        if isinstance(cell.approach, OneShot):
            wanted |= {(tag, cell.approach.num_examples): cell for tag in cell.needs.text}
    if not wanted:
        return context
    texts, tokenizer = {}, load_tokenizer(context.tokenizer)
    for (tag, count), cell in wanted.items():
        data = cell.problem.data
        corpus = open_corpus(data)
        if tag not in corpus.locales:
            raise UserError(
                f"{cell.identity.label} learns from text, but the corpus {corpus.name} has no locale {tag}: choose "
                "another --fisher-data-mode or leave the method out"
            )
        module = IntentDataModule(corpus, tokenizer, replace(data, limit_train=count))
        texts[tag, count] = module.encoded(tag, "train")
    return replace(context, texts=texts)


def _key(kind: str, model: str, texts: Sequence[tuple[str, int]], seed: int, context: EvaluationContext) -> str:
    """A name that tells a statistic apart by all that it depends on."""
    digest = hashlib.sha256(f"{context.fingerprints['models'][model]} {seed}".encode())
    for text in texts:
        digest.update(context.texts[text].tokens.tobytes() + context.texts[text].offsets.tobytes())
    return f"{kind}_{'_'.join(tag for tag, _ in texts)}_{digest.hexdigest()[:16]}"
