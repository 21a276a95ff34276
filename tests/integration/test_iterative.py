"""Training with merges, as a user runs it: what it leaves behind, and that it does the same every time."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForSequenceClassification

import cli

Fit = Callable[..., Path]
ROWS = [
    "native",
    "best source",
    "merged once, equal weights",
    "merged once, URIEL weights",
    "merged once, shuffled URIEL weights",
    "ensemble, majority",
    "ensemble, weighted_majority",
    "ensemble, soft",
    "ensemble, uriel_logits",
    "joint multilingual",
    "iterative merging",
]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Runs a small version of the quickstart; the run's folder."""

    def run(*more: str) -> Path:
        folder = tmp_path_factory.mktemp("run") / "out"
        small = ["--num-languages", "3", "--max-epochs", "2", "--data.limit_train", "96"]
        quiet = ["--trainer.enable_progress_bar", "false"]
        config = ["--config", "configs/quickstart.yaml", "--output-dir", str(folder)]
        assert cli.main(["fit", *config, *small, *quiet, *more]) == 0
        return folder

    return run


@pytest.fixture(scope="module")
def first(fit: Fit) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        return fit("--enable-tensorboard", "--enable-wandb")


def test_the_run_ends_with_one_row_for_everything_it_has_to_beat(first: Path) -> None:
    results = json.loads((first / "results.json").read_text())["results"]
    assert [result["name"].partition(" (")[0] for result in results] == ROWS
    for result in results:
        assert result["locale"] == "af-ZA"
        low, high = result["interval"]
        assert 0 <= low <= result["accuracy"] <= high <= 1
    assert results[0]["supervision"] == "target-labels"
    assert {result["supervision"] for result in results[1:]} == {"none"}
    assert sum(results[-1]["weights"].values()) == pytest.approx(1, abs=1e-12)


def test_every_merge_is_in_the_table_and_in_tensorboard_under_its_index(first: Path) -> None:
    table = pd.read_csv(first / "merges.csv")
    assert list(table["merge/index"]) == [1, 2]
    events = EventAccumulator(str(first / "tensorboard" / "fit"))
    events.Reload()
    logged = events.Scalars("merge/accuracy_after")
    assert [event.step for event in logged] == [1, 2]
    assert [event.value for event in logged] == pytest.approx(list(table["merge/accuracy_after"]))
    assert (first / "merges.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (first / "merges.svg").read_text()


def test_an_offline_wandb_run_needs_no_account(first: Path) -> None:
    (record,) = (first / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"merge/accuracy_after" in record.read_bytes()


def test_the_merged_model_is_a_hugging_face_folder(first: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(first / "merged")
    assert model.config.num_labels == len(model.config.id2label) == 25
    assert len(list((first / "sources").glob("*/config.json"))) == 4


def test_the_joint_model_is_the_one_that_multilingual_trains(fit: Fit, first: Path) -> None:
    alone = fit("--multilingual", "--compare", "false")
    weights = [(folder / "multilingual" / "model.safetensors").read_bytes() for folder in (first, alone)]
    assert weights[0] == weights[1]
    (result,) = _scores(alone)
    assert result in _scores(first)


def test_two_runs_with_one_seed_are_the_same_and_another_seed_is_not(fit: Fit, first: Path) -> None:
    again, other = fit(), fit("--seed", "1")
    assert _scores(first) == _scores(again)
    weights = [(folder / "merged" / "model.safetensors").read_bytes() for folder in (first, again, other)]
    assert weights[0] == weights[1] != weights[2]


def _scores(folder: Path) -> list[tuple[str, float, float]]:
    results = json.loads((folder / "results.json").read_text())["results"]
    return [(result["name"], result["accuracy"], result["macro_f1"]) for result in results]
