"""Encoders scored on sentence similarity: each model on each language, and what is kept of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mu_lightning.approaches.evaluation_context import model_fingerprint
from mu_lightning.checkpoints import load_encoder, load_tokenizer
from mu_lightning.data.batching import eval_loader
from mu_lightning.data.corpus import Rows
from mu_lightning.data.encoding import EncodedRows, encode
from mu_lightning.data.stsb import Pairs
from mu_lightning.evaluation.correlation import cosines, spearman, spearman_interval
from mu_lightning.merging.folders.hub_folders import local_folder
from mu_lightning.merging.folders.model_folders import open_folder
from mu_lightning.models.reading import check_length, check_rows, most_tokens, without_weights
from mu_lightning.models.sentences import SentenceEncoder
from mu_lightning.results.provenance import versions
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_folder, write_json, write_text
from mu_lightning.utilities.hub import settle_hub
from mu_lightning.utilities.progress import progress
from mu_lightning.utilities.resources import resource
from mu_lightning.utilities.tables import markdown_table, markdown_text, text_table

MAX_LENGTH = 128
HEADER = ("model", "locale", "pooling", "Spearman", "95 % interval", "pairs")


@dataclass(frozen=True)
class Similarity:
    """How one model ranks one language's pairs.

    Attributes:
        model: the model folder or hub id.
        locale: the language's locale.
        pooling: how token vectors became one.
        spearman: rank correlation with people's scores, -1 to 1.
        interval: its 95 % percentile-bootstrap interval over pairs.
        similarities: the cosine of each pair, in the split's order.
    """

    model: str
    locale: str
    pooling: str
    spearman: float
    interval: tuple[float, float]
    similarities: np.ndarray

    def row(self) -> tuple[str, ...]:
        """Its line in a table."""
        low, high = self.interval
        count = str(len(self.similarities))
        return (self.model, self.locale, self.pooling, f"{self.spearman:.3f}", f"{low:.3f} to {high:.3f}", count)

    def summary(self) -> dict[str, Any]:
        """Itself as plain values, without the similarities."""
        return {
            "name": f"{self.model}, {self.pooling}",
            "model": self.model,
            "locale": self.locale,
            "pooling": self.pooling,
            "spearman": self.spearman,
            "interval": list(self.interval),
            "pairs": len(self.similarities),
        }


def score_models(
    models: Sequence[str],
    pairs: Mapping[str, Pairs],
    poolings: Sequence[str],
    *,
    batch_size: int = 256,
    max_length: int | None = None,
    device: str = "cpu",
) -> list[Similarity]:
    """Scores each model on each language, with a bar of the batches on standard error.

    Args:
        models: model folders or hub ids: bases, members and merged models alike.
        pairs: locale -> pairs.
        poolings: names of `mu_lightning.models.sentences.POOLINGS`, all from one forward pass.
        batch_size: sentences in one batch.
        max_length: tokens after which a sentence is cut; None: `MAX_LENGTH`, or as many as the model supports.
        device: where to compute.

    Raises:
        UserError: a model cannot be loaded, does not support the length, or gives every pair the same similarity.
    """
    limits = [_limit(model, max_length) for model in models]
    tokenizers = [load_tokenizer(model) for model in models]
    encoded = [
        {locale: _encode(found, tokenizer, limit) for locale, found in pairs.items()}
        for tokenizer, limit in zip(tokenizers, limits, strict=True)
    ]
    for model, rows_of in zip(models, encoded, strict=True):
        check_rows(list(rows_of.values()), without_weights(model), str(model))
    total = sum(len(eval_loader(rows, batch_size)) for rows_of in encoded for rows in rows_of.values())

    def embedded() -> Iterator[tuple[str, str, Any, Any]]:
        for model, rows_of in zip(models, encoded, strict=True):
            encoder = SentenceEncoder(load_encoder(model), poolings).eval().to(device)
            for locale, rows in rows_of.items():
                for batch in eval_loader(rows, batch_size):
                    with torch.inference_mode():
                        on_device: Any = {name: tensor.to(device) for name, tensor in dict[str, Any](batch).items()}
                        yield model, locale, batch["index"].numpy(), encoder(on_device).cpu().numpy()

    vectors: dict[tuple[str, str], np.ndarray] = {}
    for model, locale, index, found in progress(embedded(), total, "batches of sentences"):
        size = (len(poolings), 2 * len(pairs[locale]), found.shape[-1])
        vectors.setdefault((model, locale), np.empty(size, dtype=np.float32))[:, index] = found
    return [
        _similarity(model, locale, pooling, sentences, pairs[locale])
        for (model, locale), by_pooling in vectors.items()
        for pooling, sentences in zip(poolings, by_pooling, strict=True)
    ]


def _limit(model: str, given: int | None) -> int:
    empty = without_weights(model)
    if given is None:
        return min(MAX_LENGTH, most_tokens(empty) or MAX_LENGTH)
    check_length(given, empty, "max_length")
    return given


def show(results: Sequence[Similarity]) -> str:
    """The results as a table for the terminal."""
    return text_table(HEADER, [result.row() for result in results])


def write_similarities(
    folder: Path, results: Sequence[Similarity], pairs: Mapping[str, Pairs], provenance: Mapping[str, Any]
) -> None:
    """Writes the folder `folder` atomically: ``sts.json``, ``similarities.npz`` and ``sts.md``.

    ``similarities.npz`` holds, for each result's number i, ``ids_i``, ``scores_i`` (people's) and ``similarities_i``.
    """
    arrays: dict[str, Any] = {}
    for place, result in enumerate(results):
        arrays[f"ids_{place}"] = np.asarray(pairs[result.locale].ids)
        arrays[f"scores_{place}"] = np.asarray(pairs[result.locale].scores)
        arrays[f"similarities_{place}"] = result.similarities
    summaries = [result.summary() for result in results]
    rows = [[*map(markdown_text, result.row())] for result in results]
    with atomic_folder(folder) as temporary:
        np.savez_compressed(temporary / "similarities.npz", **arrays)
        write_text(temporary / "sts.md", markdown_table(HEADER, rows))
        write_json(temporary / "sts.json", {"results": summaries, **provenance, "versions": versions()})


def fingerprints(models: Sequence[str], pairs: Mapping[str, Pairs]) -> dict[str, dict[str, str]]:
    """SHA-256 of each model's weights and each locale's pairs; raises UserError for a model that is not there."""
    if not all(resource(model).is_dir() for model in models):
        settle_hub()
    return {
        "models": {model: model_fingerprint(open_folder(local_folder(model))) for model in models},
        "pairs": {locale: found.fingerprint for locale, found in pairs.items()},
    }


def _encode(pairs: Pairs, tokenizer: Any, max_length: int) -> EncodedRows:
    """The first sentences and then the second ones, tokenized."""
    texts = [*pairs.first, *pairs.second]
    return encode(Rows([str(number) for number in range(len(texts))], texts, [0] * len(texts)), tokenizer, max_length)


def _similarity(model: str, locale: str, pooling: str, sentences: np.ndarray, pairs: Pairs) -> Similarity:
    first, second = np.split(sentences.astype(np.float64), 2)
    similarities, scores = cosines(first, second), np.asarray(pairs.scores)
    correlation = spearman(similarities, scores)
    if not np.isfinite(correlation):
        raise UserError(f"{model} gives every pair of {locale} the same similarity ({pooling} pooling): no ranking")
    return Similarity(model, locale, pooling, correlation, spearman_interval(similarities, scores), similarities)
