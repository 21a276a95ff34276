"""The evaluation context: models by reference, tokenized splits, one architecture, a device.

It is made once, in the process of the command, after everything has been checked; workers get it as it is.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from mu_lightning.approaches.problem import Problem
from mu_lightning.checkpoints import load_tokenizer, quiet_transformers
from mu_lightning.data.batching import eval_loader
from mu_lightning.data.corpus import SPLITS, Corpus, Split, check_labeled, check_labels
from mu_lightning.data.encoding import EncodedRows
from mu_lightning.data.module import IntentDataModule, Loaders
from mu_lightning.data.registry import open_corpus
from mu_lightning.evaluation.calibration import stored_temperature
from mu_lightning.languages import not_among
from mu_lightning.loading import built_classifier, check_classifier
from mu_lightning.merging.folders.alignment import aligned_base, aligned_sources, in_class_order
from mu_lightning.merging.folders.configs import check_same_config
from mu_lightning.merging.folders.hub_folders import local_folder
from mu_lightning.merging.folders.labels import class_names
from mu_lightning.merging.folders.mapped_files import MappedFiles, check_finite_folder
from mu_lightning.merging.folders.model_folders import ModelFolder, open_folder
from mu_lightning.merging.folders.safetensor_files import read_header
from mu_lightning.merging.folders.same_tokenizer import check_same_tokenizer
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.reading import check_architecture, check_length, without_weights
from mu_lightning.settings import CorpusSettings, DataSettings
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.file_stamps import FileStamp, stamp, watch


class Tensors(Protocol):
    """A reference to named tensors."""

    def load(self) -> Mapping[str, Tensor]:
        """Loads the tensors, read-only."""


@dataclass(frozen=True)
class FileTensors:
    """Memory-mapped tensors of a model folder or safetensors file, shared by all processes.

    Attributes:
        path: the folder or file.
        folder: of a folder, as it was opened: with the names and the order of classes that it was given.
        stamps: the files as they were hashed; later they must be the same.
    """

    path: Path
    folder: ModelFolder | None = field(default=None, compare=False, repr=False)
    stamps: tuple[FileStamp, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(cls, folder: ModelFolder) -> "FileTensors":
        """The tensors of an opened folder, whose files are hashed."""
        return cls(folder.path, folder, stamps_of(folder))

    def load(self) -> Mapping[str, Tensor]:
        """Memory-maps the tensors; raises UserError for a file that has changed since it was hashed."""
        watch(self.stamps)
        files = MappedFiles()
        entries = read_header(self.path) if self.folder is None else self.folder.tensors
        return {name: files.tensor(entry) for name, entry in entries.items()}


@dataclass(frozen=True)
class Scoring(CorpusSettings):
    """Evaluation settings, shared by all results of a recipe.

    Attributes:
        split: split to evaluate on.
        batch_size: batch size.
        max_length: maximum number of tokens.
    """

    split: Split = "test"
    batch_size: int = DataSettings.eval_batch_size
    max_length: int = DataSettings.max_length

    def open(self) -> Corpus:
        """Opens the corpus; raises UserError for an unknown corpus or split."""
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        return open_corpus(self)

    def plain(self) -> dict[str, Any]:
        """Returns plain values."""
        return asdict(self) | {"data_dir": None if self.data_dir is None else str(self.data_dir)}


def scoring_of(problem: Problem) -> Scoring:
    """What a problem scores."""
    data = problem.data
    return Scoring(
        **data.corpus_values(), split=problem.split, batch_size=data.eval_batch_size, max_length=data.max_length
    )


@dataclass(frozen=True)
class EvaluationContext:
    """Everything that a worker needs.

    Attributes:
        models: name -> the classifier's tensors; all are of one architecture.
        config: the architecture, as ``config.json`` has it.
        rows: locale -> the split that is scored, tokenized.
        batch_size: rows in one batch.
        tokenizer: folder or hub id of the tokenizer of the rows.
        base: the tensors that the sources started from, for methods on task vectors.
        folders: name -> model folder, where the models lie in folders of this machine.
        texts: which train texts a method reads, see `mu_lightning.approaches.from_text.merge_data`; locale -> rows.
        dev: locale -> its labeled dev rows, of sources that something is tuned on.
        temperatures: name -> temperature that the model folder stores; 1 for others.
        device: where to compute.
        fingerprints: of the rows (``rows``: locale -> SHA-256) and models (``models``: name -> SHA-256).
        notes: what was done to make the models comparable, a line each.
    """

    models: Mapping[str, Tensors]
    config: Mapping[str, Any]
    rows: Mapping[str, EncodedRows]
    batch_size: int
    tokenizer: Path | str = ""
    base: Tensors | None = None
    texts: Mapping[tuple[str, int], EncodedRows] = field(default_factory=dict)
    dev: Mapping[str, EncodedRows] = field(default_factory=dict)
    temperatures: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"
    fingerprints: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def skeleton(self) -> IntentClassifier:
        """An uninitialized classifier of the architecture: the template that weights are put into."""
        with quiet_transformers():
            return IntentClassifier(built_classifier(self.config, "the models")).eval()

    def state(self, name: str) -> dict[str, Tensor]:
        """Returns the tensors of a model in float32, read-only, restricted to the architecture."""
        found, wanted = self.models[name].load(), self.skeleton.model.state_dict()
        missing = [key for key in wanted if key not in found]
        if missing:
            raise UserError(f"the model {name} is not a trained classifier: it lacks {', '.join(missing[:4])}")
        return {key: found[key].float() if found[key].is_floating_point() else found[key] for key in wanted}

    def classifier(self, state: Mapping[str, Tensor]) -> IntentClassifier:
        """Creates a classifier with the given tensors, without copies on the CPU."""
        skeleton = self.skeleton
        shared = {id(tensor): tensor for tensor in (*skeleton.parameters(), *skeleton.buffers())}
        made = copy.deepcopy(skeleton, shared)
        made.model.load_state_dict(state, assign=True)
        return made.requires_grad_(False).to(self.device)

    def model(self, name: str, state: Mapping[str, Tensor] | None = None) -> IntentClassifier:
        """Creates a model as it is, with its temperature; `state`, if it is loaded already, saves loading it."""
        found = self.classifier(self.state(name) if state is None else state)
        found.temperature = self.temperatures.get(name, 1.0)
        return found

    def loaders(self, locales: Sequence[str]) -> Loaders:
        """Creates the loaders of the split by locale."""
        return {tag: eval_loader(self.rows[tag], self.batch_size) for tag in locales}


def prepare(
    scoring: Scoring,
    models: Mapping[str, Path | str],
    locales: Sequence[str],
    *,
    base: Path | str | None = None,
    device: str = "cpu",
) -> EvaluationContext:
    """Checks models and data against each other, and tokenizes each locale's split once.

    Args:
        scoring: evaluation settings.
        models: locale (or name) -> model folder or hub id.
        locales: locales to evaluate on.
        base: folder or hub id of the base.
        device: device of the computation.

    Raises:
        UserError: an unknown split, corpus or locale; models with other labels than the corpus, different architectures
            or tokenizers, or invalid files.
    """
    corpus = scoring.open()
    folders, notes = open_models(models, corpus)
    first = next(iter(folders.values()))
    architecture = without_weights(first.path)
    check_architecture(architecture, str(first.path))
    check_length(scoring.max_length, architecture, "--max-length")
    start = None
    if base is not None:
        start, changes = aligned_base(open_folder(local_folder(base)), first)
        notes += changes
        check_same_tokenizer(next(iter(folders)), first.path, "the base", start.path, base=True)
        check_finite_folder("the base", start)
    rows = prepare_rows(scoring, first.path, locales)
    fingerprints = {}
    for name, folder in folders.items():  # one after another, while the files are cached
        fingerprints[name] = model_fingerprint(folder)
        check_finite_folder(name, folder)
    return replace(
        rows,
        models={name: FileTensors.of(folder) for name, folder in folders.items()},
        temperatures={name: stored_temperature(folder.path) for name, folder in folders.items()},
        config=first.config,
        base=None if start is None else FileTensors.of(start),
        device=device,
        fingerprints={
            **rows.fingerprints,
            "models": fingerprints,
        },
        notes=tuple(notes),
    )


def prepare_rows(scoring: Scoring, base: Path | str, locales: Sequence[str]) -> EvaluationContext:
    """A context without models: each locale's split, tokenized once.

    Args:
        scoring: what is scored.
        base: folder or hub id of the tokenizer.
        locales: the locales to score on.

    Raises:
        UserError: a split, corpus or locale that does not exist.
    """
    corpus = scoring.open()
    check_locales(corpus, locales)
    settings = DataSettings(**scoring.corpus_values(), max_length=scoring.max_length)
    data = IntentDataModule(corpus, load_tokenizer(base), settings)
    for tag in locales:
        check_labeled(corpus, tag, scoring.split, data.rows(tag, scoring.split), "scored on")
    return EvaluationContext(
        models={},
        config={},
        rows={tag: data.encoded(tag, scoring.split) for tag in locales},
        batch_size=scoring.batch_size,
        tokenizer=base,
        fingerprints={"rows": {tag: data.rows(tag, scoring.split).fingerprint for tag in locales}, "models": {}},
    )


def with_dev(context: EvaluationContext, problem: Problem, locales: Sequence[str]) -> EvaluationContext:
    """The context with the labeled dev rows of some locales, tokenized.

    Args:
        context: the context.
        problem: gives the corpus and its limits.
        locales: sources that something is tuned on.

    Raises:
        UserError: a locale is not in the corpus, or has no labeled dev rows.
    """
    if not locales:
        return context
    corpus = open_corpus(problem.data)
    check_locales(corpus, locales)
    data = IntentDataModule(corpus, load_tokenizer(context.tokenizer), problem.data)
    for tag in locales:
        check_labeled(corpus, tag, "dev", data.rows(tag, "dev"), "tuned on")
    prints = {tag: data.rows(tag, "dev").fingerprint for tag in locales}
    return replace(
        context,
        dev={tag: data.encoded(tag, "dev") for tag in locales},
        fingerprints={**context.fingerprints, "dev": prints},
    )


def check_locales(corpus: Corpus, locales: Sequence[str]) -> None:
    """Raises UserError for unknown or repeated locales."""
    for place, tag in enumerate(locales):
        if tag not in corpus.locales:
            raise not_among(f"the corpus {corpus.name}", tag, corpus.locales)
        if tag in locales[:place]:
            raise UserError(f"the locale {tag} is named twice")


def open_models(models: Mapping[str, Path | str], corpus: Corpus) -> tuple[dict[str, ModelFolder], list[str]]:
    """Opens classifiers by their configs and headers, with classes in the order of the corpus.

    Args:
        models: name -> model folder or hub id.
        corpus: the corpus.

    Returns:
        The folders, and a note for each change that makes them comparable.

    Raises:
        UserError: labels that differ from the corpus, or architectures or tokenizers that differ from the first model.
    """
    if not models:
        raise UserError("there is no model to evaluate")
    opened = {name: open_folder(local_folder(path)) for name, path in models.items()}
    ordered = {name: in_class_order(folder, corpus.label_names, str(folder.path)) for name, folder in opened.items()}
    for folder in ordered.values():
        check_labels(str(folder.path), class_names(folder.config, str(folder.path)) or ("none",), corpus)
    moved = [name for name, folder in opened.items() if ordered[name] is not folder]
    folders, notes = aligned_sources(ordered)
    notes += [f"classes of {', '.join(moved)} reordered as in the corpus {corpus.name}"] if moved else []
    (first, expected), *others = folders.items()
    for name, folder in others:
        shapes = {key: shape for key, (shape, _) in folder.signatures.items()}
        if shapes != {key: shape for key, (shape, _) in expected.signatures.items()}:
            raise UserError(f"{folder.path} has another architecture than {expected.path}: its tensors differ")
        check_same_config(first, expected.config, name, folder.config)
        check_same_tokenizer(first, expected.path, name, folder.path)
    check_classifier(expected)
    return folders, notes


def stamps_of(folder: ModelFolder) -> tuple[FileStamp, ...]:
    """Hashes the weight files of a model folder.

    Raises:
        UserError: they are not those of which the headers were read.
    """
    found = tuple(stamp(path) for path in sorted({entry.path for entry in folder.tensors.values()}))
    places = {(entry.path, entry.start, entry.stop) for one in found for entry in read_header(one.path).values()}
    if any((entry.path, entry.start, entry.stop) not in places for entry in folder.tensors.values()):
        raise UserError(f"the files of {folder.path} changed while they were read: start again once they are written")
    return found


def model_fingerprint(folder: ModelFolder) -> str:
    """SHA-256 of the weight files of a model folder, and of the class order if it was changed."""
    digest = hashlib.sha256()
    for one in stamps_of(folder):
        digest.update(bytes.fromhex(one.sha256))
    orders = {entry.rows for entry in folder.tensors.values() if entry.rows is not None}
    digest.update(repr(sorted(orders)).encode() if orders else b"")
    return digest.hexdigest()


def model_bytes(state: Mapping[str, Tensor]) -> int:
    """Size of the tensors of a model in bytes."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())
