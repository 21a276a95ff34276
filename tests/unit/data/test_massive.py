import gzip
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from mu_lightning.data.corpus import SPLITS
from mu_lightning.data.massive import MassiveCorpus
from mu_lightning.data.massive_sources import REVISION
from mu_lightning.utilities.errors import UserError

LOCALES = ("af-ZA", "en-US", "sw-KE")  # those of the made-up release
REAL = Path(os.environ.get("MU_MASSIVE_DIR", Path(__file__).parents[4] / "shared" / "data" / "massive"))
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"no MASSIVE release at {REAL} (set MU_MASSIVE_DIR)")


def _lines(release: Path, locale: str = "en-US") -> list[dict[str, Any]]:
    path = release / "1.1" / "data" / f"{locale}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(release: Path, rows: list[Any], locale: str = "en-US") -> None:
    text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    (release / "1.1" / "data" / f"{locale}.jsonl").write_text(text, encoding="utf-8")


def _write_hub(release: Path, folder: Path) -> Path:
    """The release as the hub keeps it: a Parquet file a split, the intents as numbers of named classes."""
    for locale in LOCALES:
        rows = _lines(release, locale)
        for split in SPLITS:
            part = datasets.Dataset.from_list([row for row in rows if row["partition"] == split])
            part = part.cast_column("intent", datasets.ClassLabel(names=["tea_order", "lamp_off", "lamp_on"]))
            path = folder / locale / {"dev": "validation"}.get(split, split) / "0000.parquet"
            path.parent.mkdir(parents=True)
            part.to_parquet(path)
    return folder


def test_a_release_is_read_as_it_is_written(release: Path) -> None:
    corpus = MassiveCorpus(release)
    rows = corpus.rows("sw-KE", "dev")
    assert corpus.locales == LOCALES
    assert corpus.label_names == ("lamp_off", "lamp_on", "tea_order")
    assert rows.ids == ("6", "7")
    assert rows.texts == ("sentensi ya kubuni 6", "sentensi ya kubuni 7")
    assert [corpus.label_names[label] for label in rows.labels] == ["lamp_on", "lamp_off"]
    assert [len(corpus.rows("sw-KE", split)) for split in SPLITS] == [6, 2, 2]


@pytest.mark.parametrize("level", [".", "1.1", "1.1/data"])
def test_the_release_is_found_from_any_of_its_levels(release: Path, level: str) -> None:
    assert MassiveCorpus(release / level).locales == LOCALES


def test_compressed_files_give_the_same_rows(release: Path) -> None:
    plain = MassiveCorpus(release).rows("en-US", "train").fingerprint
    path = release / "1.1" / "data" / "en-US.jsonl"
    path.with_name("en-US.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert MassiveCorpus(release).rows("en-US", "train").fingerprint == plain


def test_other_files_in_the_directory_are_let_be(release: Path) -> None:
    (release / "1.1" / "data" / "notes.jsonl").write_text("not a locale")
    assert MassiveCorpus(release).locales == LOCALES


def test_a_directory_that_is_not_a_release_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a MASSIVE release: looked for <locale>\.jsonl or <locale>\.jsonl\.gz"):
        MassiveCorpus(tmp_path)
    with pytest.raises(UserError, match="is not a directory"):
        MassiveCorpus(tmp_path / "nowhere")


def test_a_locale_that_the_release_lacks_is_refused_with_those_it_has(release: Path) -> None:
    with pytest.raises(UserError, match=r"has no locale 'ca-ES' \(Catalan\): it has af-ZA, en-US, sw-KE"):
        MassiveCorpus(release).rows("ca-ES", "train")


@pytest.mark.parametrize("key", ["id", "locale", "partition", "intent", "utt"])
@pytest.mark.parametrize("value", [None, "", "  ", 7])
def test_a_row_without_a_key_or_without_text_in_it_is_refused_with_its_line(
    release: Path, key: str, value: Any
) -> None:
    rows = _lines(release)
    rows[2][key] = value
    if value is None:
        del rows[2][key]
    _write(release, rows)
    with pytest.raises(UserError, match=rf"en-US\.jsonl, line 3: the key '{key}' is missing, empty or not a text"):
        MassiveCorpus(release).rows("en-US", "train")


@pytest.mark.parametrize(
    ("place", "row", "message"),
    [
        (3, "{not json\n", r"en-US\.jsonl, line 4: not JSON"),
        (3, "[1, 2]\n", r"en-US\.jsonl, line 4: not a JSON object"),
        (3, "\n", r"en-US\.jsonl, line 4: not JSON"),
        (3, {"id": "3", "locale": "af-ZA"}, r"en-US\.jsonl, line 4: the row is of locale 'af-ZA', not en-US"),
        (3, {"partition": "validation"}, r"en-US\.jsonl, line 4: partition 'validation' is none of train, dev, test"),
        (3, {"id": "0"}, r"en-US\.jsonl, line 4: the id '0' is there twice"),
    ],
)
def test_a_line_that_no_release_holds_is_refused(release: Path, place: int, row: Any, message: str) -> None:
    rows: list[Any] = _lines(release)
    rows[place] = {**rows[place], **row} if isinstance(row, dict) else row
    _write(release, rows)
    with pytest.raises(UserError, match=message):
        MassiveCorpus(release).rows("en-US", "train")


def test_an_empty_file_is_refused(release: Path) -> None:
    _write(release, [])
    with pytest.raises(UserError, match=r"en-US\.jsonl, line 1: the file is empty"):
        MassiveCorpus(release).rows("en-US", "train")


def test_a_file_that_ends_before_its_last_split_is_refused(release: Path) -> None:
    _write(release, _lines(release)[:8])
    with pytest.raises(UserError, match="en-US ends after 8 rows and has none for test"):
        MassiveCorpus(release).rows("en-US", "train")


@pytest.mark.parametrize("content", [b"\x1f\x8bnot gzip", b"", gzip.compress(b"x" * 9000, mtime=0)[:-9], b"plain text"])
def test_a_broken_compressed_file_is_refused(release: Path, content: bytes) -> None:
    path = release / "1.1" / "data" / "en-US.jsonl"
    path.with_name("en-US.jsonl.gz").write_bytes(content)
    path.unlink()
    with pytest.raises(UserError, match=r"en-US\.jsonl\.gz"):
        MassiveCorpus(release).rows("en-US", "train")


def test_text_that_is_not_utf_8_is_refused(release: Path) -> None:
    (release / "1.1" / "data" / "en-US.jsonl").write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(UserError, match=r"en-US\.jsonl, after line 0: cannot be read"):
        MassiveCorpus(release).rows("en-US", "train")


def test_a_locale_with_other_intents_than_those_read_before_is_refused(release: Path) -> None:
    rows = [{**row, "intent": row["intent"].replace("tea_order", "tea_brew")} for row in _lines(release, "sw-KE")]
    _write(release, rows, "sw-KE")
    corpus = MassiveCorpus(release)
    corpus.rows("af-ZA", "train")
    with pytest.raises(
        UserError, match=r"sw-KE has other intents than af-ZA: it has \['tea_brew'\] .* \['tea_order'\]"
    ):
        corpus.rows("sw-KE", "train")


def test_the_hubs_parquet_gives_the_releases_rows_labels_and_fingerprints(release: Path, tmp_path: Path) -> None:
    from_files = MassiveCorpus(release)
    from_hub = MassiveCorpus(hub_id=str(_write_hub(release, tmp_path / "hub")))
    assert from_hub.label_names == from_files.label_names
    for locale in LOCALES:
        for split in SPLITS:
            assert from_hub.rows(locale, split).fingerprint == from_files.rows(locale, split).fingerprint


def test_the_hubs_cache_is_read_without_network(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0" * 40
    repository = tmp_path / "cache" / "datasets--AmazonScience--massive"
    _write_hub(release, repository / "snapshots" / commit)
    (repository / "refs" / REVISION).parent.mkdir(parents=True)
    (repository / "refs" / REVISION).write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    corpus = MassiveCorpus()
    assert len(corpus.rows("sw-KE", "train")) == 6
    with pytest.raises(UserError, match="MASSIVE's ca-ES cannot be downloaded from the hub"):
        corpus.rows("ca-ES", "train")


def test_out_of_reach_the_hubs_error_is_one_line_with_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError) as caught:
        MassiveCorpus().rows("af-ZA", "train")
    message = str(caught.value)
    assert "\n" not in message
    assert "AmazonScience/massive" in message
    assert all(way in message for way in ("network", "--data-dir", "--corpus cldr"))


def test_parquet_without_massives_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "en-US").mkdir()
    parquet.write_table(pyarrow.table({"id": ["0"], "text": ["made up"]}), tmp_path / "en-US" / "0000.parquet")
    with pytest.raises(UserError, match=r"0000\.parquet: cannot be read as MASSIVE's Parquet"):
        MassiveCorpus(hub_id=str(tmp_path)).rows("en-US", "train")


def test_a_class_without_a_name_is_refused(release: Path, tmp_path: Path) -> None:
    folder = _write_hub(release, tmp_path / "hub")
    path = folder / "en-US" / "test" / "0000.parquet"
    table = parquet.read_table(path)
    place = table.column_names.index("intent")
    parquet.write_table(table.set_column(place, "intent", pyarrow.array([-1] * len(table))), path)
    with pytest.raises(UserError, match=r"0000\.parquet, row 1: the key 'intent' is missing"):
        MassiveCorpus(hub_id=str(folder)).rows("en-US", "train")


@pytest.mark.massive
@needs_real_data
def test_the_real_release_has_its_published_sizes_and_60_intents() -> None:
    corpus = MassiveCorpus(REAL)
    assert len(corpus.label_names) == 60
    for locale in corpus.locales[:3]:
        assert [len(corpus.rows(locale, split)) for split in SPLITS] == [11_514, 2_033, 2_974]
        assert set(corpus.rows(locale, "train").labels) == set(range(60))


@pytest.mark.massive
@needs_real_data
def test_in_the_real_release_an_id_has_one_split_and_one_label_in_every_locale() -> None:
    corpus = MassiveCorpus(REAL)
    seen = Counter[tuple[str, str, int]]()
    some = corpus.locales[:3]
    for locale in some:
        for split in SPLITS:
            rows = corpus.rows(locale, split)
            seen.update((name, split, label) for name, label in zip(rows.ids, rows.labels, strict=True))
    assert set(seen.values()) == {len(some)}
