import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from pandas import DataFrame

INTENTS = ("lamp_on", "lamp_off", "tea_order")
SENTENCES = {"af-ZA": "versin nommer", "en-US": "made-up sentence", "sw-KE": "sentensi ya kubuni"}


def made_up_rows(locale: str) -> list[dict[str, Any]]:
    """Ten rows with MASSIVE's keys and none of its sentences: six to train on, two each for dev and test."""
    splits = ["train"] * 6 + ["dev"] * 2 + ["test"] * 2
    return [
        {
            "id": str(number),
            "locale": locale,
            "partition": split,
            "scenario": "made_up",
            "intent": INTENTS[number % 3],
            "utt": f"{SENTENCES[locale]} {number}",
            "annot_utt": "",
        }
        for number, split in enumerate(splits)
    ]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """The same rows as a folder of tables: CSV, JSON lines and Parquet, under the default names of columns."""
    folder = tmp_path / "tables"
    folder.mkdir()
    names = {"id": "id", "utt": "text", "intent": "label", "partition": "split"}
    frames = {tag: DataFrame(made_up_rows(tag)).rename(columns=names)[list(names.values())] for tag in SENTENCES}
    frames["af-ZA"].to_csv(folder / "af-ZA.csv", index=False)
    frames["en-US"].to_json(folder / "en-US.jsonl", orient="records", lines=True)
    frames["sw-KE"].to_parquet(folder / "sw_KE.parquet")
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The same rows as `datasets` saves a data set: a column of languages, classes as numbers."""
    rows = [
        {"id": row["id"], "lang": tag, "text": row["utt"], "label": INTENTS.index(row["intent"]), "s": row["partition"]}
        for tag in SENTENCES
        for row in made_up_rows(tag)
    ]
    features = Features(
        {"id": Value("string"), "lang": Value("string"), "text": Value("string"), "label": ClassLabel(names=INTENTS)}
    )
    parts = {
        {"dev": "validation"}.get(split, split): Dataset.from_list(
            [{name: row[name] for name in features} for row in rows if row["s"] == split], features=features
        )
        for split in ("train", "dev", "test")
    }
    DatasetDict(parts).save_to_disk(tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """An unpacked release of three locales, laid out as MASSIVE's."""
    folder = tmp_path / "release" / "1.1" / "data"
    folder.mkdir(parents=True)
    for locale in SENTENCES:
        write_lines(folder / f"{locale}.jsonl", made_up_rows(locale))
    return tmp_path / "release"
