from pathlib import Path

import pytest

from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.data.description import describe_language, remarks, show
from mu_lightning.data.files import files_corpus
from mu_lightning.data.tables import TableCorpus
from mu_lightning.settings import CorpusSettings


@pytest.fixture
def lamps(tmp_path: Path) -> TableCorpus:
    (tmp_path / "en.csv").write_text(
        "text,label,split\nlamp on,on,train\nlamp off,off,train\nfan on,on,train\nlamp on,on,dev\nradio off,off,test\n"
        "lamp off,off,test\n"
    )
    (tmp_path / "de.csv").write_text("text,label,split\nan,on,train\naus,off,train\nein,on,dev\n")
    (tmp_path / "yo.csv").write_text("text,split\ntan ina,train\n")
    return files_corpus(CorpusSettings("files", tmp_path))


def test_a_language_is_counted(lamps: TableCorpus) -> None:
    found = describe_language(lamps, "en")
    assert found.rows == {"train": 3, "dev": 1, "test": 2}
    assert found.labels == {"off": 3, "on": 3}
    assert found.balance == pytest.approx(1.0)
    assert found.overlap == {"dev": 1.0, "test": 0.5}
    assert found.repeated == pytest.approx(1 / 3)
    assert (found.median_length, found.longest) == (7, 9)
    assert found.tokens is None
    skewed = describe_language(lamps, "de")
    assert skewed.balance == pytest.approx(0.918, abs=1e-3)


def test_a_language_without_labels_is_described_too(lamps: TableCorpus) -> None:
    found = describe_language(lamps, "yo")
    assert (found.name, found.labels, found.balance, found.labeled) == ("Yoruba", {}, None, ())
    lines = remarks([describe_language(lamps, tag) for tag in lamps.locales])
    assert lines == [
        "de: no labeled test rows: models are not evaluated",
        "en: 33% of the rows are duplicates",
        "en: 100% of the dev texts are in train, too: biased scores",
        "en: 50% of the test texts are in train, too: biased scores",
        "yo: no labels: usable as a target, without evaluation",
    ]


def test_tokens_are_counted_by_the_base(lamps: TableCorpus, tiny_base: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    found = describe_language(lamps, "en", tokenizer, max_length=4).tokens
    assert found is not None
    rows = [text for split in ("train", "dev", "test") for text in lamps.rows("en", split).texts]
    pieces = [tokenizer.tokenize(text) for text in rows]
    assert found.per_word == pytest.approx(sum(map(len, pieces)) / sum(len(text.split()) for text in rows))
    assert found.longest == max(map(len, pieces)) + 2
    assert found.cut == sum(len(row) + 2 > 4 for row in pieces) / len(pieces)
    assert 0 <= found.unknown < 1
    table = show([describe_language(lamps, "en", tokenizer)])
    assert "tokens/word" in table


def test_the_table_fits_a_terminal(lamps: TableCorpus) -> None:
    assert max(map(len, show([describe_language(lamps, tag) for tag in lamps.locales]).splitlines())) <= 80
