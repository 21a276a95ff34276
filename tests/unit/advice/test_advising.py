"""Advice on a small corpus: ranking, what to label, and what is refused."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mu_lightning.advice.advising import advise
from mu_lightning.advice.profiles import Profile
from mu_lightning.advice.tables import show
from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.data.corpus import Rows
from mu_lightning.locales import LOCALES
from mu_lightning.results.matrix import NByN
from mu_lightning.typology.similarity import from_features
from mu_lightning.utilities.errors import UserError


class Unlabeled:
    """A corpus in which some languages have no labels."""

    notes: tuple[str, ...] = ()

    def __init__(self, corpus: Any, without: tuple[str, ...]) -> None:
        self._corpus, self._without = corpus, without
        self.name, self.label_names, self.locales = corpus.name, corpus.label_names, corpus.locales

    def rows(self, locale: str, split: Any) -> Rows:
        rows = self._corpus.rows(locale, split)
        return Rows(rows.ids, rows.texts, [-1] * len(rows)) if locale in self._without else rows


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    return load_tokenizer(tiny_base)


@pytest.fixture(scope="module")
def matrix() -> NByN:
    tags = ("en-US", "de-DE", "nl-NL", *tuple(LOCALES)[::6])
    accuracy = 0.1 + 0.5 * from_features("syntax_knn", tags).values
    np.fill_diagonal(accuracy, 0.9)
    return NByN(Path("made"), tags, tags, accuracy)


def test_without_a_matrix_languages_are_ranked_and_nothing_is_predicted(corpus: Any, tokenizer: Any) -> None:
    found = advise("af-ZA", corpus, tokenizer, num_languages=2)
    assert found.chosen[0] == "nl-NL"
    assert sorted(one.language for one in found.candidates) == ["de-DE", "en-US", "nl-NL"]
    assert {one.predicted for one in found.candidates} == {None}
    assert all(0 < (one.features["coverage"] or 0) <= 1 for one in found.candidates)
    text = show(found)
    assert f"train on: --locales {','.join(found.chosen)}" in text
    assert "no accuracy is predicted" in text


def test_with_a_matrix_accuracies_are_predicted_with_intervals(corpus: Any, tokenizer: Any, matrix: NByN) -> None:
    found = advise("da-DK", Unlabeled(corpus, ("af-ZA",)), tokenizer, matrix, num_languages=2)
    assert "no text of da-DK" in found.notes[0]
    values = [one.predicted for one in found.candidates]
    assert values == sorted(values, reverse=True)
    for one in found.candidates:
        assert one.interval is not None
        assert one.interval[0] <= one.predicted <= one.interval[1]  # type: ignore[operator]
    assert found.own_labels == pytest.approx(0.9)
    assert found.label_next[0].language in ("nb-NO", "sv-SE", "is-IS")  # Danish's nearest relatives have no labels
    text = show(found, "made")
    assert re.search(r"expected: \d+ % \(\d+ % to \d+ %\) with", text)
    assert "models on labels of the target's own: 90 %" in text
    assert "label next: da-DK itself, or else" in text
    assert found.plain()["validation"]["model"]["correlation"] > 0.9


def test_a_target_in_the_matrix_is_left_out_and_shown_beside(corpus: Any, tokenizer: Any, matrix: NByN) -> None:
    found = advise("af-ZA", corpus, tokenizer, matrix, sources=["en-US", "nl-NL"])
    measured = {one.language: one.measured for one in found.candidates}
    assert measured == {tag: pytest.approx(matrix.column("af-ZA")[tag]) for tag in ("en-US", "nl-NL")}
    assert "measured" in show(found)
    other = NByN(matrix.folder, matrix.sources, matrix.locales, matrix.accuracy.copy())
    other.accuracy[:, other.locales.index("af-ZA")] = 0.5
    again = advise("af-ZA", corpus, tokenizer, other, sources=["en-US", "nl-NL"])
    assert [one.predicted for one in again.candidates] == [one.predicted for one in found.candidates]


def test_text_statistics() -> None:
    one, other = Profile(Counter({1: 3, 2: 1}), 2, 10), Profile(Counter({1: 1, 3: 3}), 4, 0)
    assert (one.coverage(other), other.coverage(one)) == (0.25, 0.75)
    assert one.overlap(other) == other.overlap(one) == 1 / 3
    assert one.tokens_per_word == 2


@pytest.mark.parametrize(
    ("target", "given", "message"),
    [
        ("af", {}, "has no locale 'af': did you mean af-ZA"),
        ("Yoruba", {}, "'Yoruba' is a language's name, not its tag: write yo"),
        ("yo", {"num_languages": 0}, "--num-languages is 0"),
        ("yo", {"feature_set": "syntax"}, "unknown feature set 'syntax'"),
        ("yo", {"sources": ["fr-FR"]}, "has no locale 'fr-FR'"),
        ("af-ZA", {"sources": ["af-ZA"]}, "the target af-ZA is among its sources"),
        ("az-AZ", {"feature_set": "learned"}, "feature set 'learned' has no data for az-AZ"),
    ],
)
def test_mistakes_are_refused(corpus: Any, tokenizer: Any, target: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        advise(target, corpus, tokenizer, **given)


def test_a_corpus_without_labels_is_refused(corpus: Any, tokenizer: Any) -> None:
    with pytest.raises(UserError, match="no language with labeled train rows other than yo"):
        advise("yo", Unlabeled(corpus, corpus.locales), tokenizer)
    with pytest.raises(UserError, match="nl-NL cannot be trained on: its train rows have no labels"):
        advise("yo", Unlabeled(corpus, ("nl-NL",)), tokenizer, sources=["nl-NL"])
