"""Which languages to train on for a target, how well their models may do, and which language to label next."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mu_lightning.advice.languages import candidates, unlabeled
from mu_lightning.advice.pairs import FEATURES, OVERLAP, pair_features
from mu_lightning.advice.profiles import profiles
from mu_lightning.advice.transfer_model import TransferModel
from mu_lightning.advice.validation import Validation, validate
from mu_lightning.data.corpus import Corpus
from mu_lightning.locales import locale
from mu_lightning.results.matrix import NByN
from mu_lightning.settings import DEFAULT_FEATURE_SET
from mu_lightning.typology.features import FEATURE_SETS, no_data
from mu_lightning.utilities.errors import check_number, unknown

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_NEXT = 3


@dataclass(frozen=True)
class Candidate:
    """A language to train on, or to label.

    Attributes:
        language: tag of the language.
        name: English name of the language.
        predicted: predicted accuracy of its model on the target, 0 to 1; None without a matrix.
        interval: 95 % prediction interval; None without a matrix.
        measured: accuracy in the matrix, which the prediction does not use; None unless the target is there.
        features: feature in `FEATURES` -> value for the pair; None for missing values.
    """

    language: str
    name: str
    predicted: float | None
    interval: tuple[float, float] | None
    measured: float | None
    features: Mapping[str, float | None]


@dataclass(frozen=True)
class Advice:
    """Advice for a target.

    Attributes:
        target: tag of the target.
        feature_set: feature set of the ranking without a matrix.
        candidates: languages with labeled train rows, best first.
        chosen: the languages to train on.
        label_next: languages without labels that rank above all candidates, best first.
        own_labels: mean accuracy of the models of the matrix on their own language; None without a matrix.
        validation: error of predictions for left-out languages; None without a matrix.
        notes: what could not be considered; one sentence each.
    """

    target: str
    feature_set: str
    candidates: tuple[Candidate, ...]
    chosen: tuple[str, ...]
    label_next: tuple[Candidate, ...] = ()
    own_labels: float | None = None
    validation: Validation | None = None
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """Returns the advice as plain values."""
        return asdict(self)


def advise(
    target: str,
    corpus: Corpus,
    tokenizer: "PreTrainedTokenizerBase",
    matrix: NByN | None = None,
    num_languages: int = 5,
    sources: Sequence[str] | None = None,
    feature_set: str = DEFAULT_FEATURE_SET,
) -> Advice:
    """Ranks the labeled languages of a corpus as sources of a target.

    With a matrix, they are ranked by predicted accuracy; without one, by the mean of their percentile ranks by
    typological similarity and by subword overlap.

    Args:
        target: tag of the target; the corpus need not have it.
        corpus: the corpus.
        tokenizer: tokenizer of the base, for subword overlap.
        matrix: an N-by-N matrix, to learn a model of transfer from; the target is left out of it.
        num_languages: number of languages to choose.
        sources: candidates; default: all languages with labeled train rows.
        feature_set: feature set of the ranking without a matrix.

    Raises:
        UserError: an unknown target, source or feature set, no candidates, or a target without data in the feature set.
    """
    check_number("--num-languages", num_languages, least=1)
    if feature_set not in FEATURE_SETS:
        raise unknown("feature set", feature_set, FEATURE_SETS)
    labeled = candidates(target, corpus, sources)
    names = (*labeled, *unlabeled(target, corpus))
    of_matrix = () if matrix is None else (*matrix.sources, *matrix.locales)
    texts = profiles(corpus, dict.fromkeys((target, *names, *of_matrix)), tokenizer)
    features = pair_features(names, [target], texts)[:, 0]
    notes = () if target in texts else (f"the corpus {corpus.name} has no text of {target}: subwords are not compared",)
    if matrix is None:
        order, above = _by_similarity(target, features, len(labeled), feature_set)
        found = [_candidate(tag, row) for tag, row in zip(names, features, strict=True)]
        own_labels, validation = None, None
    else:
        model = TransferModel(matrix, texts, [target], np.isfinite(features).any(axis=0))
        predicted = model.predict(features, names)
        order, above = _best(predicted, len(labeled))
        measured = matrix.column(target) if target in matrix.locales else {}
        found = [
            _candidate(tag, row, float(value), (float(low), float(high)), measured.get(tag))
            for tag, row, value, (low, high) in zip(names, features, predicted, model.intervals(predicted), strict=True)
        ]
        own = [matrix.column(tag).get(tag) for tag in matrix.locales if tag != target]
        own_labels = float(np.mean([value for value in own if value is not None] or [np.nan]))
        validation = validate(model, min(num_languages, len(model.sources) - 2))
    ranked = tuple(found[place] for place in order)
    return Advice(
        target,
        feature_set,
        ranked,
        tuple(one.language for one in ranked[:num_languages]),
        tuple(found[place] for place in above[:MOST_NEXT]),
        None if own_labels is None or np.isnan(own_labels) else own_labels,
        validation,
        notes,
    )


def _candidate(
    tag: str,
    row: np.ndarray,
    predicted: float | None = None,
    interval: tuple[float, float] | None = None,
    measured: float | None = None,
) -> Candidate:
    values = {name: None if np.isnan(value) else float(value) for name, value in zip(FEATURES, row, strict=True)}
    return Candidate(tag, locale(tag).name, predicted, interval, measured, values)


def _best(scores: np.ndarray, count: int) -> tuple[list[int], list[int]]:
    """Places of the first `count`, best first, and of the others that are better than all of them, best first."""
    order = [int(place) for place in np.argsort(-scores, kind="stable")]
    highest = np.nanmax(scores[:count])
    return [place for place in order if place < count], [
        place for place in order if place >= count and scores[place] > highest
    ]


def _by_similarity(target: str, features: np.ndarray, count: int, feature_set: str) -> tuple[list[int], list[int]]:
    """The same, by similarity and subword overlap; the others, which may have no text, by similarity."""
    similarity = features[:, FEATURES.index(feature_set)]
    if np.isnan(similarity[:count]).all():
        raise no_data(feature_set, target)
    return _best(scores_without_matrix(features[:count], feature_set), count)[0], _best(similarity, count)[1]


def scores_without_matrix(features: np.ndarray, feature_set: str = DEFAULT_FEATURE_SET) -> np.ndarray:
    """Mean percentile rank of each source by similarity and by subword overlap, shape (sources,).

    Args:
        features: features of the sources of a target, shape (sources, `FEATURES`).
        feature_set: feature set of the similarity.
    """
    ranks = np.stack([_percentile_ranks(features[:, FEATURES.index(name)]) for name in (feature_set, OVERLAP)])
    known = np.isfinite(ranks)
    return np.where(known, ranks, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def _percentile_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks divided by the number of values, 0 to 1; NaN for missing values."""
    from scipy.stats import rankdata

    return rankdata(values, nan_policy="omit") / max(1, int(np.isfinite(values).sum()))
