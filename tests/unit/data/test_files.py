from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.data.corpus import SPLITS, check_labels
from mu_lightning.data.files import files_corpus
from mu_lightning.data.registry import open_corpus
from mu_lightning.data.tables import TableCorpus
from mu_lightning.settings import CorpusSettings
from mu_lightning.utilities.errors import UserError

Make = Callable[..., TableCorpus]
ROWS = "".join(f"switch {'on' if row % 2 else 'off'} lamp {row},{'on' if row % 2 else 'off'}\n" for row in range(40))
EN = f"text,label\n{ROWS}"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes files (path -> content) and opens them as a corpus."""

    def open_files(files: Mapping[str, str], **settings: Any) -> TableCorpus:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return files_corpus(CorpusSettings("files", tmp_path, **settings))

    return open_files


def sizes(corpus: TableCorpus, tag: str) -> tuple[int, ...]:
    return tuple(len(corpus.rows(tag, split)) for split in SPLITS)


def with_split(train: int, dev: int, test: int) -> str:
    named = ["train"] * train + ["Validation"] * dev + ["test"] * test
    return "sentence,intent,partition\n" + "".join(f"s{row},{'ab'[row % 2]},{name}\n" for row, name in enumerate(named))


@pytest.mark.parametrize(
    "files",
    [
        {"en.csv": with_split(6, 2, 4), "yo.csv": with_split(6, 2, 4)},
        {
            f"{split}/{tag}.csv": f"text,label\n{'x,a' if rows == 0 else ''}" + "u,a\nv,b\n" * (rows // 2)
            for tag in ("en", "yo")
            for split, rows in (("train", 6), ("dev", 2), ("test", 4))
        },
        {
            f"{tag}/{split}.csv": "text,label\n" + "u,a\nv,b\n" * (rows // 2)
            for tag in ("en", "yo")
            for split, rows in (("train", 6), ("validation", 2), ("test", 4))
        },
        {
            f"{split}.csv": "text,label,lang\n"
            + "".join(f"u,a,{tag}\nv,b,{tag}\n" * (rows // 2) for tag in ("en", "yo"))
            for split, rows in (("train", 6), ("dev", 2), ("test", 4))
        },
    ],
)
def test_languages_and_splits_are_told_by_files_folders_or_columns(make: Make, files: dict[str, str]) -> None:
    corpus = make(files)
    assert corpus.locales == ("en", "yo")
    assert [sizes(corpus, tag) for tag in corpus.locales] == [(6, 2, 4), (6, 2, 4)]
    assert corpus.label_names == ("a", "b")
    assert corpus.notes == ()


def test_one_table_can_be_named_itself(make: Make, tmp_path: Path) -> None:
    make({"all.csv": "text,label,lang\n" + "u,a,en\nv,b,en\nw,a,yo\n" * 9, "notes.csv": "not,a,corpus\n"})
    assert files_corpus(CorpusSettings("files", tmp_path / "all.csv")).locales == ("en", "yo")


def test_columns_can_be_named(make: Make) -> None:
    rows = "".join(f"q{row},{row % 3},en,x\n" for row in range(30))
    corpus = make(
        {"all.csv": f"query,klass,l,text\n{rows}"}, text_column="query", label_column="klass", language_column="l"
    )
    assert corpus.label_names == ("0", "1", "2")
    assert set(corpus.rows("en", "train").texts) < {f"q{row}" for row in range(30)}


def test_numbers_are_labels_in_their_order(make: Make) -> None:
    corpus = make({"en.csv": "text,label\n" + "".join(f"t{row},{row % 12}\n" for row in range(48))})
    assert corpus.label_names == tuple(map(str, range(12)))


def test_drawn_splits_are_said_and_keep_parallel_rows_together(make: Make) -> None:
    rows = [(f"i{row}", f"t{row}", "on" if row % 2 else "off") for row in range(60)]
    files = {
        "en.csv": "id,text,label\n" + "".join(f"{name},{text},{label}\n" for name, text, label in rows),
        "sw.csv": "id,text,label\n" + "".join(f"{name},s{text},{label}\n" for name, text, label in rows[20:]),
        "yo.csv": "id,text\n" + "".join(f"{name},y{text}\n" for name, text, _ in rows[::2]),
    }
    corpus = make(files)
    assert corpus.notes == (
        "splits drawn for en, sw, yo: 70% train, 20% test, 10% dev, stratified by label, rows of one id together "
        "(seed 0)",
    )
    split_of: dict[str, str] = {}
    for tag in corpus.locales:
        for split in SPLITS:
            for name in corpus.rows(tag, split).ids:
                assert split_of.setdefault(name, split) == split
    assert sizes(corpus, "en") == (42, 6, 12)
    other = make(files, split_seed=1)
    assert other.rows("en", "test").ids != corpus.rows("en", "test").ids


def test_equal_texts_are_drawn_into_one_split(make: Make) -> None:
    corpus = make({"en.csv": "text,label\n" + "".join(f"same {row % 10},{'ab'[row % 2]}\n" for row in range(60))})
    texts = [set(corpus.rows("en", split).texts) for split in SPLITS]
    assert all(texts)
    assert not texts[0] & texts[1] | texts[0] & texts[2] | texts[1] & texts[2]


def test_dev_rows_that_are_not_named_are_drawn_from_train(make: Make) -> None:
    corpus = make({"en.csv": with_split(20, 0, 4)})
    assert sizes(corpus, "en") == (18, 2, 4)
    assert corpus.notes == ("dev rows drawn from train for en: 90% train, 10% dev, stratified by label (seed 0)",)


def test_a_language_may_have_no_labels_and_no_test_rows(make: Make) -> None:
    corpus = make({"en.csv": with_split(6, 2, 4), "yo.csv": "text,split\na,train\nb,train\n"})
    assert corpus.rows("yo", "train").labels == (-1, -1)
    assert not corpus.rows("yo", "train").labeled
    assert sizes(corpus, "yo") == (2, 0, 0)
    assert corpus.rows("en", "train").labeled


def test_a_sample_takes_the_labels_of_the_model_that_it_scores(make: Make) -> None:
    corpus = make({"en.csv": "text,label,split\nx,b,test\ny,c,test\n"})
    check_labels("a model", ("a", "b", "c"), corpus)
    assert corpus.rows("en", "test").labels == (1, 2)
    with pytest.raises(UserError, match=r"en\.csv, line 3: the label 'c' is none of the model's labels"):
        check_labels("a model", ("a", "b"), corpus)


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ({"notes.txt": "x"}, {}, "contains no tables: expected <language>.csv"),
        ({"data.csv": EN}, {}, "data.csv: whose language? Its name is no language's tag, and it has no column"),
        ({"en.csv": "text,label\n"}, {}, "en.csv, line 1: the table has no rows"),
        ({"en.csv": "query,label\na,b\n"}, {}, "en.csv, line 2: no column of texts: looked for any of text, utt"),
        ({"en.csv": EN}, {"text_column": "satz"}, "no column of texts: looked for 'satz', found text, label"),
        ({"en.csv": EN + ",on\n"}, {}, "en.csv, line 42: the text (column 'text') is empty"),
        ({"en.csv": EN + "lamp,\n"}, {}, "en.csv, line 42: no label, but other train rows of en have one"),
        ({"en.csv": "id,text,label\n1,a,x\n2,b,y\n1,c,x\n"}, {}, "en.csv, line 4: the id '1' is there already, in"),
        ({"en.csv": "id,text,label\n1,a,x\n,b,y\n"}, {}, "en.csv, line 3: no id, but other rows of en have one"),
        (
            {"en.csv": "text,label,split\na,x,train\nb,y,holdout\n"},
            {},
            "en.csv, line 3: column 'split' names the split",
        ),
        ({"en.csv": "text,label,split\na,x,train\nb,y,\n"}, {}, "en.csv, line 3: no split, but other rows of en"),
        ({"en.csv": with_split(6, 2, 4) + "x,typo,test\n"}, {}, "en.csv, line 14: the label 'typo' is in no train row"),
        ({"en.csv": "text,label\na,x\nb,x\n"}, {}, "every row of the corpus files has the label 'x'"),
        ({"en.csv": "text\na\nb\n"}, {}, "no row of the corpus files has a label: give the column"),
        ({"d.csv": "text,label,lang\na,x,en\nb,y,Albanian\n"}, {}, "d.csv, line 3: 'Albanian' is a language's name"),
        ({"d.csv": "text,label,lang\na,x,en\nb,y,\n"}, {}, "d.csv, line 3: no language"),
        ({"en.jsonl": '{"text": ["a"], "label": "x"}\n'}, {}, "en.jsonl, line 1: column 'text' holds list"),
    ],
)
def test_what_is_wrong_is_refused_with_file_and_line(
    make: Make, files: dict[str, str], settings: dict[str, Any], message: str
) -> None:
    def read_all() -> list[Any]:
        corpus = make(files, **settings)
        return [corpus.label_names, *(corpus.rows(tag, split) for tag in corpus.locales for split in SPLITS)]

    with pytest.raises(UserError) as raised:
        read_all()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_folder_and_settings_of_other_corpora_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--corpus files needs --data-dir"):
        open_corpus(CorpusSettings("files"))
    with pytest.raises(UserError, match=r"no-such is not a directory"):
        open_corpus(CorpusSettings("files", tmp_path / "no-such"))
    with pytest.raises(UserError, match="--text-column q is for --corpus files or hub, not for 'cldr'"):
        open_corpus(CorpusSettings(text_column="q"))
    with pytest.raises(UserError, match="--dataset x is for --corpus hub, not for 'files'"):
        open_corpus(CorpusSettings("files", tmp_path, dataset="x"))


def test_a_large_file_is_read_whole(make: Make) -> None:
    corpus = make({"en.csv": "text,label\n" + "".join(f"text {row},{row % 7}\n" for row in range(50_000))})
    assert sum(sizes(corpus, "en")) == 50_000
