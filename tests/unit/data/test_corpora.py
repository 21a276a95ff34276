"""What holds for every registered corpus; a new one needs a line in `_directory` only if it reads a directory."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mu_lightning.data.corpus import SPLITS, Corpus
from mu_lightning.data.registry import CORPORA, open_corpus
from mu_lightning.locales import LOCALES
from mu_lightning.settings import CorpusSettings
from mu_lightning.utilities.errors import UserError

# The fixture whose folder a corpus reads; "cldr" reads none.
FOLDERS = {"massive": "release", "files": "tables", "hub": "dataset"}
SAMPLE = ("af-ZA", "en-US", "sw-KE")


@pytest.fixture(params=sorted(CORPORA))
def make(request: pytest.FixtureRequest) -> Callable[[], Corpus]:
    directory = None
    if request.param in FOLDERS:
        directory = request.getfixturevalue(FOLDERS[request.param])
    if request.param == "hub":  # a local folder of tables is a data set too
        return lambda: open_corpus(CorpusSettings("hub", dataset=str(directory)))
    return lambda: open_corpus(CorpusSettings(request.param, directory))


@pytest.fixture
def corpus(make: Callable[[], Corpus]) -> Corpus:
    return make()


def test_it_is_called_by_its_registered_name(corpus: Corpus) -> None:
    assert CORPORA[corpus.name]


def test_its_locales_are_known_and_sorted(corpus: Corpus) -> None:
    assert set(SAMPLE) <= set(corpus.locales) <= set(LOCALES)
    assert list(corpus.locales) == sorted(corpus.locales)


def test_label_names_are_distinct_and_every_label_is_the_index_of_one(corpus: Corpus) -> None:
    assert len(set(corpus.label_names)) == len(corpus.label_names) > 1
    used = {label for locale in SAMPLE for label in corpus.rows(locale, "train").labels}
    assert used <= set(range(len(corpus.label_names)))
    assert len(used) > 1


def test_a_row_has_an_id_a_text_and_a_label(corpus: Corpus) -> None:
    for locale in SAMPLE:
        for split in SPLITS:
            rows = corpus.rows(locale, split)
            assert len(rows.ids) == len(rows.texts) == len(rows.labels) == len(rows) > 0
            assert all(isinstance(name, str) and name for name in rows.ids)
            assert all(isinstance(text, str) and text == text.strip() != "" for text in rows.texts)
            assert all(type(label) is int for label in rows.labels)


def test_an_id_is_there_once_in_all_splits_of_a_locale(corpus: Corpus) -> None:
    for locale in SAMPLE:
        ids = [name for split in SPLITS for name in corpus.rows(locale, split).ids]
        assert len(ids) == len(set(ids))


def test_an_id_has_one_split_and_one_label_in_every_locale(corpus: Corpus) -> None:
    known: dict[str, tuple[str, int]] = {}
    for locale in SAMPLE:
        for split in SPLITS:
            rows = corpus.rows(locale, split)
            for name, label in zip(rows.ids, rows.labels, strict=True):
                assert known.setdefault(name, (split, label)) == (split, label)
    assert len(known) < sum(len(corpus.rows(locale, split)) for locale in SAMPLE for split in SPLITS)


def test_locales_share_most_of_their_ids(corpus: Corpus) -> None:
    first, *others = ({name for split in SPLITS for name in corpus.rows(tag, split).ids} for tag in SAMPLE)
    assert all(len(first & other) > 0.6 * len(first) for other in others)


def test_two_instances_have_the_same_rows_in_the_same_order(make: Callable[[], Corpus]) -> None:
    one, other = make(), make()
    other.rows("sw-KE", "test")  # the order of reading must not matter
    assert one.label_names == other.label_names
    for locale in SAMPLE:
        for split in SPLITS:
            assert one.rows(locale, split).fingerprint == other.rows(locale, split).fingerprint


def test_splits_and_locales_have_different_fingerprints(corpus: Corpus) -> None:
    fingerprints = [corpus.rows(locale, split).fingerprint for locale in SAMPLE for split in SPLITS]
    assert len(set(fingerprints)) == len(fingerprints)


def test_an_unknown_locale_or_split_is_refused(corpus: Corpus) -> None:
    with pytest.raises(UserError, match="has no locale 'en-UK': did you mean en-US"):
        corpus.rows("en-UK", "train")
    with pytest.raises(UserError, match="unknown split 'validation'"):
        corpus.rows("en-US", "validation")  # type: ignore[arg-type]


def test_an_unknown_corpus_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(UserError, match="unknown corpus 'masive': did you mean massive"):
        open_corpus(CorpusSettings("masive"))


def test_a_directory_for_the_embedded_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'cldr' is embedded and needs no directory"):
        open_corpus(CorpusSettings("cldr", tmp_path))
