import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.commands.predict import run
from mu_lightning.inference import load
from mu_lightning.utilities.errors import UserError

TEXTS = ["lamp, on", "weck mich um fünf"]


@pytest.fixture
def model(models_dir: Path) -> Path:
    return models_dir / "tiny_small_nl-NL"


@pytest.fixture
def expected(model: Path) -> list[str]:
    return [one.label for one in load(model).predict(TEXTS)]


def pipe(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_texts_are_printed_beside_their_labels(
    model: Path, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--model-path", str(model), "--text", *TEXTS, "--top-k", "2"]) == 0
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["text", "predicted", "probability", "predicted_2", "probability_2"]
    assert [row.split()[-4] for row in rows] == expected
    assert all(row.startswith(text) for row, text in zip(rows, TEXTS, strict=True))


def test_a_pipe_is_a_text_a_line(
    model: Path, expected: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(monkeypatch, "\n\n".join(TEXTS).encode())
    assert run(["--model-path", str(model), "--input", "-"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["text"], row["predicted"]) for row in rows] == list(zip(TEXTS, expected, strict=True))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_table_keeps_its_other_columns(model: Path, expected: list[str], tmp_path: Path, kind: str) -> None:
    rows = [{"n": str(place), "utt": text, "label": "gold"} for place, text in enumerate(TEXTS)]
    source, target = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    if kind == "csv":
        source.write_text('n,utt,label\n0,"lamp, on",gold\n1,weck mich um fünf,gold\n', encoding="utf-8")
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run(["--model-path", str(model), "--input", str(source), "--output-file", str(target)]) == 0
    with target.open(encoding="utf-8", newline="") as stream:
        found: list[dict[str, Any]] = list(csv.DictReader(stream)) if kind == "csv" else [*map(json.loads, stream)]
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert [row["predicted"] for row in found] == expected
    with pytest.raises(UserError, match="already holds"):
        run(["--model-path", str(model), "--input", str(source), "--output-file", str(target)])


def test_the_rows_of_a_corpus_are_written_with_their_gold_labels(
    model: Path, corpus: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--model-path", str(model), "--corpus", "small", "--locales", "nl-NL,af-ZA", "--split", "dev"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["id"] for row in rows if row["language"] == "af-ZA"] == list(corpus.rows("af-ZA", "dev").ids)
    names = [corpus.label_names[label] for label in corpus.rows("nl-NL", "dev").labels]
    assert [row["label"] for row in rows if row["language"] == "nl-NL"] == names


def test_what_is_too_uncertain_has_no_label(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = max(one.probability for one in load(model).predict(TEXTS))
    arguments = ["--model-path", str(model), "--corpus", "small", "--locales", "nl-NL"]
    assert run([*arguments, "--abstain-below", str(best)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    clear = [row for row in rows if abs(float(row["probability"]) - best) > 1e-3]
    assert {bool(row["predicted"]) for row in clear} == {True, False}
    assert all(bool(row["predicted"]) == (float(row["probability"]) > best) for row in clear)
    with pytest.raises(UserError, match=r"--abstain-below is 1\.5"):
        run([*arguments, "--abstain-below", "1.5"])


def test_several_models_vote(models_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(models_dir / f"tiny_small_{tag}") for tag in ("de-DE", "en-US")]
    assert run(["--models", *folders, "--vote", "majority", "--text", "lamp on"]) == 0
    assert "lamp on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (b"", [], "there are no texts to classify"),
        (b"caf\xe9\n", [], "standard input is not UTF-8"),
        (b"a,b\n1,2\n", ["--input-format", "csv"], "standard input, line 2: no column of texts"),
        (b"q,predicted\nx,y\n", ["--input-format", "csv", "--text-column", "q"], "'predicted' would be overwritten"),
        (b"a\n", ["--output-file", "out.txt"], "expected a name that ends in .csv, .tsv, .jsonl"),
        (b"a\n", ["--locales", "nl-NL"], "--input and --locales is given to classify: give one of"),
    ],
)
def test_mistakes_are_refused_and_nothing_is_written(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    content: bytes,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    pipe(monkeypatch, content)
    with pytest.raises(UserError) as raised:
        run(["--model-path", str(model), "--input", "-", *arguments])
    assert message in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_something_to_classify_and_a_model_are_needed(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is given to classify"):
        run(["--model-path", str(model)])
    with pytest.raises(UserError, match="give one model with --model-path, or several"):
        run(["--text", "a"])
    with pytest.raises(UserError, match="unknown format"):
        run(["--model-path", str(model), "--input", str(tmp_path / "texts.docx")])


def test_locales_have_a_file_each_in_a_folder(model: Path, tmp_path: Path) -> None:
    arguments = ["--model-path", str(model), "--corpus", "small"]
    assert run([*arguments, "--locales", "nl-NL,af-ZA", "--output-dir", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "predictions_af-ZA.csv",
        "predictions_nl-NL.csv",
    ]
    with (tmp_path / "out" / "predictions_af-ZA.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["language"] for row in rows} == {"af-ZA"}
    assert all(row["predicted"] for row in rows)
    for wrong in (["--text", "a"], ["--locales", "nl-NL", "--output-file", "x.csv"]):
        with pytest.raises(UserError, match="--output-dir is for --locales"):
            run([*arguments, *wrong, "--output-dir", str(tmp_path / "other")])
    with pytest.raises(UserError, match=r"exists|already"):
        run([*arguments, "--locales", "nl-NL", "--output-dir", str(tmp_path / "out")])
