"""A schedule over a recorded run: what it would have done, what is known of it, and the command that shows it."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

import cli
from mu_lightning.schedules.history import Recorded, read_history
from mu_lightning.schedules.replay import replay, table_rows
from mu_lightning.schedules.schedules import SCHEDULES, Adaptive, EveryEpochs, EverySteps, OnPlateau
from mu_lightning.utilities.errors import UserError

MEANS = (0.2, 0.3, 0.4, 0.4, 0.4, 0.41)
STEPS = 10


def record(index: int, epoch: int, gain: float, committed: bool = True) -> dict[str, Any]:
    return {
        "index": index,
        "epoch": epoch,
        "step": STEPS * epoch,
        "reason": "every 3 epochs",
        "committed": committed,
        "sync": "replace",
        "targets": {"af-ZA": {"gain": gain, "after": 0.4}},
        "sources": {"nl-NL": {"before": 0.4, "after": 0.4}},
        "schedule": {"name": "every-epochs", "n": 3},
    }


def history(merges: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    epochs = [
        {
            "epoch": number,
            "step": STEPS * number,
            "members": {"nl-NL": mean, "de-DE": mean},
            "target": {"nl-NL": mean, "de-DE": mean, "ensemble": mean},
            "mean": mean,
            "drift": 0.1 * number,
        }
        for number, mean in enumerate(MEANS, 1)
    ]
    return {
        "targets": ["af-ZA"],
        "schedule": {},
        "epochs": epochs,
        "merges": [record(1, 3, -0.1), record(2, 6, 0.1)] if merges is None else merges,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    (run / "history.json").write_text(json.dumps(history()))
    return run


def recorded(merges: list[dict[str, Any]] | None = None) -> Recorded:
    found = history(merges)
    return Recorded(tuple(found["targets"]), tuple(found["epochs"]), tuple(found["merges"]))


def test_it_merges_where_it_would_have_and_knows_the_outcome_where_the_run_merged_too() -> None:
    merges = replay(EveryEpochs(2), recorded())
    assert [(merge["epoch"], merge["recorded"]) for merge in merges] == [(2, False), (4, False), (6, True)]
    assert table_rows(merges, "af-ZA") == [
        ("1", "2", "20", "-", "every 2 epochs"),
        ("2", "4", "40", "-", "every 2 epochs"),
        ("3", "6", "60", "+0.1000", "every 2 epochs"),
    ]


def test_steps_within_epochs_are_asked_too() -> None:
    merges = replay(EverySteps(25), recorded())
    assert [(merge["epoch"], merge["step"]) for merge in merges] == [(3, 25), (5, 50), (6, 60)]


def test_an_adaptive_interval_changes_by_recorded_outcomes_alone() -> None:
    merges = replay(Adaptive(start=3), recorded())
    assert [(merge["epoch"], merge["schedule"]["interval"]) for merge in merges] == [(3, 4), (6, 3)]
    merges = replay(Adaptive(start=2), recorded())
    assert [(merge["epoch"], merge["schedule"]["interval"]) for merge in merges] == [(2, 2), (4, 2), (6, 1)]
    assert merges[0]["schedule"]["why"] == "merge 1 has no recorded outcome: still 2"


def test_a_plateau_of_the_recorded_scores_is_found() -> None:
    assert [merge["epoch"] for merge in replay(OnPlateau(), recorded([]))] == [5, 6]


@pytest.mark.parametrize("name", sorted(set(SCHEDULES) - {"any-of"}))
def test_every_schedule_can_be_replayed(name: str) -> None:
    merges = replay(SCHEDULES[name](), recorded())
    assert [merge["index"] for merge in merges] == list(range(1, len(merges) + 1))
    assert (name == "never") == (not merges)


def test_the_verb_prints_a_table_and_draws(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["schedule", "--history", str(folder), "--schedule", "plateau", "--schedules", "every-steps:n=25"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "plateau: 2 merges in 6 epochs" in printed
    assert "every-steps:n=25: 3 merges in 6 epochs" in printed
    assert "mean of the last two gains +0.0000, below 0.0001" in printed
    assert (folder / "schedule.png").read_bytes().startswith(b"\x89PNG")
    svg = (folder / "schedule.svg").read_text()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    for said in ("the run itself", "plateau", "every-steps:n=25", "drift"):
        assert f"<!-- {said} -->" in svg


def test_a_configuration_of_fit_names_the_schedule_and_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(
        "target_lang: af-ZA\noutput_dir: runs/one\nmerge: {frequency: 4}\ntrainer: {devices: 2}\n"
    )
    assert cli.main(["schedule", "--config", "run.yaml", "--figure", "picture"]) == 0
    assert "every-epochs:n=4: 2 merges in 6 epochs" in capsys.readouterr().out
    assert Path("picture.svg").is_file()
    config = [
        "schedule",
        "--config",
        "run.yaml",
        "--config",
        "configs/schedule/adaptive.yaml",
        "--merge-frequency",
        "3",
    ]
    assert cli.main(config) == 0
    assert "adaptive: 2 merges in 6 epochs" in capsys.readouterr().out
    assert cli.main(["schedule", "--config", "run.yaml", "--figure", "picture"]) == 2
    assert "already holds a picture" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--history", "nowhere"], ["no history", "nowhere"]),
        ([], ["--history"]),
        (["--history", "broken.json"], ["broken.json", "not a history"]),
        (["--history", "empty.json"], ["no scores of epochs"]),
        (["--history", "good.json", "--schedule", "adaptiv"], ["adaptive"]),
        (["--history", "good.json", "--schedules", "plateau", "every-step:n=3"], ["every-steps"]),
        (["--config", "wrong.yaml"], ["mergee", "merge"]),
        (["--config", "inside.yaml"], ["frequenzy", "frequency"]),
        (["--config", "nowhere.yaml"], ["nowhere.yaml"]),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_one_line(
    arguments: list[str],
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text('{"epochs": []}')
    Path("empty.json").write_text('{"targets": ["af-ZA"], "epochs": [], "merges": []}')
    Path("good.json").write_text(json.dumps(history()))
    Path("wrong.yaml").write_text("mergee: {}\n")
    Path("inside.yaml").write_text("merge: {frequenzy: 2}\n")
    before = sorted(tmp_path.iterdir())
    assert cli.main(["schedule", *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert [word for word in words if word not in line] == []
    assert sorted(tmp_path.iterdir()) == before


def test_a_history_is_read_from_the_file_or_its_folder(folder: Path) -> None:
    assert read_history(folder) == read_history(folder / "history.json") == recorded()
    with pytest.raises(UserError, match="no history"):
        read_history(folder.parent)
