"""Inference: classifies streams of texts with a classifier or an ensemble, in bounded memory."""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.data.batching import eval_loader
from mu_lightning.data.corpus import Rows
from mu_lightning.data.encoding import Batch, tokenize
from mu_lightning.evaluation.loop import check_finite_logits, moved, packed
from mu_lightning.merging.folders.hub_folders import local_folder
from mu_lightning.merging.folders.same_tokenizer import check_same_tokenizer
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.ensemble import Ensemble
from mu_lightning.models.reading import check_architecture, check_length, most_tokens
from mu_lightning.models.votes import SHARES
from mu_lightning.settings import DataSettings
from mu_lightning.utilities.errors import UserError, check_number

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Texts in memory at a time, for batches of similar length.
WINDOW = 8192
BATCH_SIZE = DataSettings.eval_batch_size
LONGEST = 512  # default maximum number of tokens


@dataclass(frozen=True)
class Prediction:
    """A prediction.

    Attributes:
        text: the text.
        labels: most probable labels, best first.
        probabilities: probabilities of the labels; shares of votes for majority votes.
    """

    text: str
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def label(self) -> str:
        """Most probable label."""
        return self.labels[0]

    @property
    def probability(self) -> float:
        """Probability of the most probable label."""
        return self.probabilities[0]


class Predictor(nn.Module):
    """Classifies texts; as a module it maps a batch to class scores.

    Args:
        module: maps a batch to class scores of shape (B, classes); the prediction is the argmax.
        tokenizer: tokenizer of the model.
        label_names: class names by index.
        max_length: maximum number of tokens; longer texts are truncated.
        scale: conversion of scores to probabilities: ``logits`` by softmax, ``shares`` by normalization.
        temperature: divisor of logits, so that probabilities are calibrated.
    """

    def __init__(
        self,
        module: nn.Module,
        tokenizer: "PreTrainedTokenizerBase",
        label_names: Sequence[str],
        max_length: int,
        scale: str = "logits",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.module = module.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.label_names = tuple(label_names)
        self.max_length = max_length
        self.temperature = temperature
        self._scale = scale
        self._packing = ExitStack()
        self._packed = False

    def forward(self, batch: Batch) -> Tensor:
        """Returns class scores of shape (B, classes); the prediction is the argmax."""
        scores: Tensor = self.module(batch)
        return scores

    def predict(self, texts: Sequence[str], top_k: int = 1, batch_size: int = BATCH_SIZE) -> list[Prediction]:
        """Returns the predictions of texts, in order; for arguments see `stream`."""
        if isinstance(texts, str):
            raise UserError("predict takes a list of texts, not one text: predict([text])")
        return list(self.stream(texts, top_k, batch_size))

    def stream(self, texts: Iterable[str], top_k: int = 1, batch_size: int = BATCH_SIZE) -> Iterator[Prediction]:
        """Classifies a stream of texts and yields predictions in order, with bounded memory.

        Args:
            texts: the texts.
            top_k: number of labels per prediction.
            batch_size: batch size.

        Raises:
            UserError: a number is below 1, a text is not a string, or logits are not finite.
        """
        check_number("top_k", top_k, least=1)
        check_number("batch_size", batch_size, least=1)
        remaining = iter(texts)
        while window := list(itertools.islice(remaining, WINDOW)):
            yield from self._window(window, min(top_k, len(self.label_names)), batch_size)

    def probabilities(self, texts: Sequence[str], batch_size: int = BATCH_SIZE) -> Tensor:
        """Computes label probabilities of shape (texts, classes), on the CPU."""
        if not texts:
            return torch.empty(0, len(self.label_names))
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None:
            raise UserError(f"a text to classify is {type(wrong).__name__}, not a string: {wrong!r}")
        rows = tokenize(Rows([""] * len(texts), texts, [-1] * len(texts)), self.tokenizer, self.max_length)
        if not self._packed:  # constant weights are packed once
            self._packing.enter_context(packed(self.module))
            self._packed = True
        device = next(self.module.parameters()).device
        found = torch.empty(len(texts), len(self.label_names))
        with torch.inference_mode():
            for batch in eval_loader(rows, batch_size):
                scores = self.module(moved(batch, device)).float()
                check_finite_logits(scores, "the model")
                if self._scale == "logits":
                    shares = torch.softmax(scores / self.temperature, -1)
                else:
                    shares = scores / scores.sum(-1, keepdim=True)
                found[batch["index"]] = shares.cpu()
        return found

    def _window(self, texts: Sequence[str], top_k: int, batch_size: int) -> Iterator[Prediction]:
        values, places = self.probabilities(texts, batch_size).topk(top_k, dim=-1)
        for text, probabilities, labels in zip(texts, values.tolist(), places.tolist(), strict=True):
            yield Prediction(text, tuple(self.label_names[place] for place in labels), tuple(probabilities))


def load(folder: str | Path, *, max_length: int | None = None, device: str = "cpu") -> Predictor:
    """Loads a classifier for inference: ``load("merged").predict(["weck mich um fünf"])``.

    Args:
        folder: model folder or hub id.
        max_length: maximum number of tokens (default: as in training, or the maximum of the model).
        device: ``cpu``, ``cuda``, or ``auto`` to use a GPU if available.

    Raises:
        UserError: there is no classifier, or `max_length` exceeds the maximum of the model.
    """
    classifier = _classifier(folder)
    length = _max_length([classifier], [folder], max_length)
    names, tokenizer = classifier.label_names, load_tokenizer(folder)
    return Predictor(classifier.to(_device(device)), tokenizer, names, length, temperature=classifier.temperature)


def load_ensemble(
    folders: Sequence[str | Path],
    vote: str = "soft",
    weights: Sequence[float] | None = None,
    *,
    max_length: int | None = None,
    device: str = "cpu",
) -> Predictor:
    """Loads an ensemble of classifiers for inference; its probabilities are not calibrated.

    Args:
        folders: model folders or hub ids, with the same labels and tokenizer.
        vote: one of `mu_lightning.models.votes.VOTES`.
        weights: weights of the members; default: equal.
        max_length: see `load`.
        device: see `load`.

    Raises:
        UserError: see `load`; labels (in any order) or tokenizers that differ; a repeated folder; invalid
            weights.
    """
    names = [str(folder) for folder in folders]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UserError(f"the model {name} is named twice")
    if not names:
        raise UserError("an ensemble needs at least one model folder")
    shares = _shares(names, weights)
    first = _classifier(names[0])
    members = {names[0]: first} | {name: _classifier(name, first.label_names) for name in names[1:]}
    for name, member in members.items():
        if member.label_names != first.label_names:
            raise UserError(
                f"{name} has other labels than {names[0]}: members of an ensemble must have the same labels"
            )
        check_same_tokenizer(names[0], local_folder(names[0]), name, local_folder(name))
    module = Ensemble(members, shares, vote)
    length = _max_length(list(members.values()), folders, max_length)
    scale = "shares" if vote in SHARES else "logits"
    return Predictor(module.to(_device(device)), load_tokenizer(names[0]), first.label_names, length, scale)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # AssertionError without CUDA support
        raise UserError(f"cannot compute on '{name}': {str(error).splitlines()[0]}") from error


def _classifier(folder: str | Path, labels: Sequence[str] | None = None) -> IntentClassifier:
    found = IntentClassifier.from_folder(folder, labels)
    check_architecture(found.model, str(folder))
    return found


def _shares(names: Sequence[str], weights: Sequence[float] | None) -> Mapping[str, float]:
    if weights is None:
        return dict.fromkeys(names, 1 / len(names))
    if len(weights) != len(names):
        raise UserError(f"{len(weights)} weights are given for {len(names)} models")
    for weight in weights:
        check_number("a model's weight", weight, least=0)
    if not sum(weights):
        raise UserError("the models' weights are all 0")
    return {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)}


def _max_length(members: Sequence[IntentClassifier], folders: Sequence[str | Path], given: int | None) -> int:
    if given is not None:
        check_number("max_length", given, least=3)
        for member in members:
            check_length(given, member.model, "max_length")
        return given
    lengths = [LONGEST]
    for folder, member in zip(folders, members, strict=True):
        lengths.append(_trained_length(folder) or most_tokens(member.model) or LONGEST)
    return min(lengths)


def _trained_length(folder: str | Path) -> int | None:
    """Maximum number of tokens in the training details of a folder."""
    path = Path(folder) / "training_details.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["config"]["data"]["max_length"]
    except (OSError, ValueError, KeyError, TypeError):  # written by `fit` only
        return None
    return found if isinstance(found, int) else None
