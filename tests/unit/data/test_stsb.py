"""STS-B from the releases' files and from the hub's Parquet: the same pairs, and clear words for anything else."""

import csv
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from mu_lightning.data.stsb import LANGUAGES, Stsb
from mu_lightning.utilities.errors import UserError

# Made up for this test: none of them is STS-B's.
PAIRS = [
    ("The lamp in the hall is green.", 'A "green" lamp hangs in the hall.', 4.2),
    ("Two otters, at least, swim.", "The otters are swimming.", 3.75),
    ("My uncle paints doors.", "Snow fell on the harbour.", 0.0),
]


def write_original(folder: Path, split: str = "test", pairs: Any = PAIRS) -> Path:
    """A file as the benchmark's release has it: tabs, bare quotes, and on some lines two fields about sources."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"made-up\tnobody\t2026\t{number:04d}\t{score}\t{first}\t{second}" + ("\tx.txt\ty.txt" if number == 1 else "")
        for number, (first, second, score) in enumerate(pairs)
    ]
    path = folder / f"sts-{split}.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_translation(folder: Path, language: str = "de", split: str = "test", pairs: Any = PAIRS) -> Path:
    """A file as stsb_multi_mt's repository has it: commas, quotes doubled, no header."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"stsb-{language}-{split}.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(pairs)
    return path


def write_hub(folder: Path, language: str = "de", split: str = "test", score: str = "similarity_score") -> Path:
    """A Parquet file as the hub has it."""
    first, second, scores = zip(*PAIRS, strict=True)
    path = folder / language / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({"sentence1": list(first), "sentence2": list(second), score: list(scores)}), path)
    return path


def test_the_benchmarks_file_the_translations_file_and_parquet_give_the_same_pairs(tmp_path: Path) -> None:
    write_original(tmp_path / "original")
    write_translation(tmp_path / "multi", "en")
    write_translation(tmp_path / "multi", "de")
    write_hub(tmp_path / "hub", "en")
    found = [
        Stsb(tmp_path / "original").pairs("en-US"),
        Stsb(tmp_path / "multi").pairs("en-US"),
        Stsb(tmp_path / "multi").pairs("de-DE"),
        Stsb(hub_id=str(tmp_path / "hub")).pairs("en-US"),
    ]
    assert list(zip(found[0].first, found[0].second, found[0].scores, strict=True)) == PAIRS
    assert found[0].ids == ["0", "1", "2"]
    assert len({pairs.fingerprint for pairs in found}) == 1


@pytest.mark.parametrize("place", ["data", "stsbenchmark"])
def test_files_are_found_one_folder_down(tmp_path: Path, place: str) -> None:
    write_original(tmp_path / place, "dev")
    assert len(Stsb(tmp_path).pairs("en-US", "dev")) == 3


def test_an_english_data_set_without_language_folders_is_read_by_its_own_column_and_split_names(tmp_path: Path) -> None:
    write_hub(tmp_path, "data", "validation", score="score")
    corpus = Stsb(hub_id=str(tmp_path))
    assert list(corpus.pairs("en-US", "dev").scores) == [4.2, 3.75, 0.0]
    with pytest.raises(UserError, match="no Parquet files of 'de' for dev"):
        corpus.pairs("de-DE", "dev")
    with pytest.raises(UserError, match="no Parquet files of 'en' for test"):
        corpus.pairs("en-US", "test")


def test_the_hubs_cache_is_read_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "datasets--PhilipMay--stsb_multi_mt"
    write_hub(repository / "snapshots" / ("0" * 40))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert len(Stsb().pairs("de-DE")) == 3


def test_out_of_reach_the_error_is_one_line_with_both_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as caught:
        Stsb().pairs("en-US")
    message = str(caught.value)
    assert "\n" not in message
    assert all(way in message for way in ("network", "--data-dir", "sts-test.csv", "stsb_multi_mt"))


@pytest.mark.parametrize(
    ("locale", "split", "message"),
    [
        ("sq-AL", "test", "STS-B has no locale 'sq-AL': it has de-DE, en-US"),
        ("en-US", "tset", "unknown split 'tset': did you mean test"),
        ("de-DE", "test", r"has no stsb-de-test\.csv: looked in it"),
        ("en-US", "dev", r"has no stsb-en-dev\.csv or sts-dev\.csv"),
    ],
)
def test_what_is_not_there_is_refused_with_what_was_looked_for(
    tmp_path: Path, locale: str, split: Any, message: str
) -> None:
    write_original(tmp_path)
    with pytest.raises(UserError, match=message):
        Stsb(tmp_path).pairs(locale, split)


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a directory"):
        Stsb(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([*PAIRS, ("One.", " ", 1.0)], r"test\.csv, line 4: a sentence is missing or empty"),
        ([*PAIRS, ("One.", "Two.", 5.1)], r"line 4: the score '5.1' is not a number from 0 to 5"),
        ([*PAIRS, ("One.", "Two.", "high")], r"line 4: the score 'high' is not a number"),
        ([*PAIRS, ("One.", "Two.", "nan")], r"line 4: the score 'nan' is not a number"),
        ([("One.", "Two.", 1.0)], "fewer than two distinct scores"),
        ([], "fewer than two distinct scores"),
    ],
)
def test_a_pair_that_no_release_holds_is_refused_with_its_line(tmp_path: Path, pairs: Any, message: str) -> None:
    write_original(tmp_path / "original", pairs=pairs)
    write_translation(tmp_path / "multi", pairs=pairs)
    for folder, locale in (("original", "en-US"), ("multi", "de-DE")):
        if not pairs:
            (path,) = (tmp_path / folder).iterdir()
            path.write_text("")
        with pytest.raises(UserError, match=message):
            Stsb(tmp_path / folder).pairs(locale)


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sts-test.csv").write_text("One.,Two.,3.0\n")
    (tmp_path / "stsb-de-test.csv").write_text("a\tb\t2026\t1\t3.0\tOne.\tTwo.\n")
    (tmp_path / "stsb-fr-test.csv").write_bytes(b"\xff\xfe\x00,b,1.0\n")
    with pytest.raises(UserError, match=r"sts-test\.csv, line 1: 1 fields separated by tabs, expected at least 7"):
        Stsb(tmp_path).pairs("en-US")
    with pytest.raises(UserError, match=r"stsb-de-test\.csv, line 1: 1 fields separated by commas, expected 3"):
        Stsb(tmp_path).pairs("de-DE")
    with pytest.raises(UserError, match=r"stsb-fr-test\.csv, after line 0: cannot be read"):
        Stsb(tmp_path).pairs("fr-FR")


def test_parquet_without_the_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "de").mkdir()
    parquet.write_table(pyarrow.table({"text": ["made up"]}), tmp_path / "de" / "test.parquet")
    with pytest.raises(UserError, match=r"test\.parquet: cannot be read as STS-B's Parquet"):
        Stsb(hub_id=str(tmp_path)).pairs("de-DE")


def test_every_language_stands_for_a_known_locale() -> None:
    from mu_lightning.locales import LOCALES

    assert set(LANGUAGES) <= set(LOCALES)
    assert all(tag.startswith(f"{language}-") for tag, language in LANGUAGES.items())
