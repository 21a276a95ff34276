import json
from pathlib import Path
from typing import Any

import pytest

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
def release(tmp_path: Path) -> Path:
    """An unpacked release of three locales, laid out as MASSIVE's."""
    folder = tmp_path / "release" / "1.1" / "data"
    folder.mkdir(parents=True)
    for locale in SENTENCES:
        write_lines(folder / f"{locale}.jsonl", made_up_rows(locale))
    return tmp_path / "release"
