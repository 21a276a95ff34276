"""A user's own tables in four languages, one of them outside MASSIVE's 52 and without labels, from data to answers."""

import csv
import io
import json
import random
import sys
from pathlib import Path

import pytest
from transformers import pipeline

import cli
import mu_lightning as mu

VERBS = {
    "en": {"on": ("switch on", "turn on"), "off": ("switch off", "turn off")},
    "de": {"on": ("schalte an", "mach an"), "off": ("schalte aus", "mach aus")},
    "af-ZA": {"on": ("skakel aan", "sit aan"), "off": ("skakel af", "sit af")},
}
THINGS = ("lamp", "radio", "fan", "tv", "heater")
UNLABELED = ["tan ina yara", "pa redio", "tan telifisonu", "pa ina"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "tables"
    folder.mkdir()
    for tag, verbs in VERBS.items():
        rows = [
            (f"{verb} {thing} {number}", label)
            for label, both in verbs.items()
            for verb in both
            for thing in THINGS
            for number in range(3)
        ]
        random.Random(0).shuffle(rows)
        with (folder / f"{tag}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])
    (folder / "yo.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in UNLABELED), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def run(tables: Path, tiny_base: Path) -> Path:
    """A run merged for Yoruba."""
    folder = tables.parent / "run"
    own = ["--corpus", "files", "--data-dir", str(tables), "--base", str(tiny_base)]
    asked = ["--target-lang", "yo", "--locales", "en,de,af-ZA", "--max-epochs", "1", "--output-dir", str(folder)]
    assert cli.main(["fit", *own, *asked, "--trainer.enable_progress_bar", "false"]) == 0
    return folder


def test_the_data_are_described(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "--corpus", "files", "--data-dir", str(tables)]) == 0
    printed = capsys.readouterr().out
    assert "splits drawn for af-ZA, de, en, yo" in printed
    assert "yo: no labels: usable as a target, without evaluation" in printed


def test_a_target_without_labels_is_merged_for_and_not_scored(run: Path) -> None:
    (result,) = json.loads((run / "results.json").read_text(encoding="utf-8"))["results"]
    assert (result["locale"], result["accuracy"], result["supervision"]) == ("yo", None, "none")
    assert "not scored" in (run / "results.md").read_text(encoding="utf-8")
    (record,) = json.loads((run / "history.json").read_text(encoding="utf-8"))["merges"]
    assert record["targets"]["yo"]["scored_on"] == "sources"
    assert (run / "merged" / "model.safetensors").is_file()


def test_the_merged_model_answers_everywhere(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(run / "merged")
    expected = [one.label for one in mu.load(model).predict(UNLABELED)]
    assert cli.main(["predict", "--model-path", model, "--text", *UNLABELED]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[-2] for line in lines] == expected
    assert all(line.startswith(text) for line, text in zip(lines, UNLABELED, strict=True))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(UNLABELED).encode())))
    assert cli.main(["predict", "--model-path", model, "--input", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["predicted"] for row in rows] == expected
    classify = pipeline("text-classification", model=model)
    assert [one["label"] for one in classify(UNLABELED)] == expected


def test_a_target_without_any_rows_is_merged_for_too(tables: Path, tiny_base: Path, tmp_path: Path) -> None:
    own = ["--corpus", "files", "--data-dir", str(tables), "--base", str(tiny_base), "--max-epochs", "1"]
    asked = ["--target-lang", "eu-ES", "--locales", "en,de", "--multilingual", "--output-dir", str(tmp_path / "run")]
    assert cli.main(["fit", *own, *asked, "--trainer.enable_progress_bar", "false"]) == 0
    (result,) = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))["results"]
    assert (result["locale"], result["accuracy"], result["rows"]) == ("eu-ES", None, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target-lang", "yo", "--compare"], "yo cannot be trained on: its train rows have no labels"),
        (["--target-lang", "yo", "--schedule", "adaptive"], "uses dev labels of the target, but yo has none"),
        (["--target-lang", "af"], "the corpus files has no locale 'af': did you mean af-ZA"),
        (["--locales", "yo"], "yo cannot be trained on: its train rows have no labels in the corpus files"),
        (["--target-lang", "Yoruba"], "'Yoruba' is a language's name, not its tag: write yo"),
    ],
)
def test_what_needs_labels_is_refused_at_once(
    tables: Path,
    tiny_base: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = ["--corpus", "files", "--data-dir", str(tables), "--base", str(tiny_base), "--num-languages", "2"]
    assert cli.main(["fit", *own, "--top-k", "60", *arguments, "--output-dir", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
