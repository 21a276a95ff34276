"""What a run found, in a table and on the disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mu_lightning.evaluation.metrics import score
from mu_lightning.results.identity import Identity
from mu_lightning.results.results import HEADER, Result, show, write_results


def identity(label: str, locale: str = "af-ZA") -> Identity:
    return Identity({"target": locale, "data": {"corpus": "cldr"}}, {"approach": label.split()[0]}, 0, label)


def result(name: str = "native", locale: str = "af-ZA", right: int = 75, **more: Any) -> Result:
    labels = np.arange(100) % 5
    predictions = np.where(np.arange(100) < right, labels, 5)
    return Result(
        identity(name, locale),
        score(locale, np.array([f"id/{row}" for row in range(100)]), labels, predictions),
        **more,
    )


@pytest.fixture
def results() -> list[Result]:
    return [
        result(supervision="target-labels"),
        result("iterative merging", right=60, supervision="target-dev-labels", details={"weights": {"nl-NL": 1.0}}),
        result("best source", right=50, note="of 5"),
    ]


def test_a_row_gives_the_numbers_and_what_was_looked_at(results: list[Result]) -> None:
    assert [row.row("name")[0] for row in results] == ["name", "name", "name (of 5)"]
    low, high = results[0].scores.interval
    macro_f1 = results[0].scores.macro_f1
    assert results[0].row("native") == (
        "native",
        "af-ZA",
        "0.750",
        f"{low:.3f} to {high:.3f}",
        f"{macro_f1:.3f}",
        "train",
    )
    assert [row.row("")[-1] for row in results] == ["train", "dev", "none"]
    assert result(supervision="target-unlabelled").row("")[-1] == "none (its text)"


def test_the_calibration_error_has_a_column_where_a_result_has_it(results: list[Result], tmp_path: Path) -> None:
    assert "ECE" not in show(results)
    scores = results[0].scores
    sure = score(scores.locale, scores.ids, scores.labels, scores.predictions, np.ones(100))
    more = [*results, Result(identity("sure"), sure)]
    header, _, *lines = show(more).splitlines()
    assert header.split().index("ECE") == header.split().index("macro-F1") - 1
    assert [line.split().count("0.250") for line in lines] == [0, 0, 0, 1]
    write_results(tmp_path, more, {})
    assert "| ECE | macro-F1 |" in (tmp_path / "results.md").read_text(encoding="utf-8")


def test_the_terminals_table_has_a_line_a_result(results: list[Result]) -> None:
    lines = show(results).splitlines()
    assert len(lines) == 2 + len(results)
    assert "95 % interval" in lines[0]
    assert len({len(line) for line in lines}) == 1


def test_the_files_hold_scores_predictions_and_provenance(results: list[Result], tmp_path: Path) -> None:
    write_results(tmp_path / "run", results, {"seed": 3, "config": {"data": {"corpus": "cldr"}}})
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "predictions.npz",
        "results.json",
        "results.md",
    ]
    stored = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert stored["seed"] == 3
    assert stored["config"] == {"data": {"corpus": "cldr"}}
    assert "torch" in stored["versions"]
    assert [line["name"] for line in stored["results"]] == ["native", "iterative merging", "best source"]
    assert stored["results"][0]["accuracy"] == 0.75
    assert stored["results"][0]["rows"] == 100
    assert stored["results"][0]["interval"] == list(results[0].scores.interval)
    assert stored["results"][1]["supervision"] == "target-dev-labels"
    assert stored["results"][1]["weights"] == {"nl-NL": 1.0}
    with np.load(tmp_path / "run" / "predictions.npz", allow_pickle=False) as arrays:
        for place, one in enumerate(results):
            assert arrays[f"ids_{place}"].tolist() == one.scores.ids.tolist()
            assert arrays[f"labels_{place}"].tolist() == one.scores.labels.tolist()
            assert arrays[f"predictions_{place}"].tolist() == one.scores.predictions.tolist()
    table = (tmp_path / "run" / "results.md").read_text(encoding="utf-8").splitlines()
    assert len(table) == 2 + len(results)
    assert all(line.count("|") == len(HEADER) + 1 for line in table)


def test_the_json_comes_last_so_that_it_marks_a_whole_result(results: list[Result], tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_results(tmp_path, results, {"config": {1, 2}})  # JSON has no sets
    assert (tmp_path / "predictions.npz").exists()
    assert not (tmp_path / "results.json").exists()
