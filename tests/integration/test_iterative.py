"""Training with merges, as a user runs it: what it leaves behind, and that it does the same every time."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForSequenceClassification

import cli
from mu_lightning.results.store import read_store

Fit = Callable[..., Path]
PRINTED = "printed.txt"
ROWS = [
    "trained on target labels (ceiling)",
    "source",
    "merged once, linear, equal",
    "merged once, linear, URIEL",
    "merged once, linear, shuffled",
    "ensemble, majority",
    "ensemble, weighted_majority, URIEL",
    "ensemble, soft, URIEL",
    "ensemble, uriel_logits, URIEL",
    "one model on pooled data",
    "iterative, linear, URIEL, every epoch",
]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Runs a small version of the quickstart; the run's folder."""

    def run(*more: str) -> Path:
        folder = tmp_path_factory.mktemp("run") / "out"
        small = ["--num-languages", "3", "--max-epochs", "2", "--data.limit_train", "96"]
        quiet = ["--trainer.enable_progress_bar", "false"]
        config = ["--config", "configs/quickstart.yaml", "--output-dir", str(folder)]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            assert cli.main(["fit", *config, *small, *quiet, *more]) == 0
        (folder.parent / PRINTED).write_text(printed.getvalue(), encoding="utf-8")
        return folder

    return run


@pytest.fixture(scope="module")
def first(fit: Fit) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        return fit("--enable-tensorboard", "--enable-wandb")


def test_the_run_ends_with_one_row_for_everything_it_has_to_beat(first: Path) -> None:
    cells = read_store(first).cells
    assert {cell.identity.label.partition(" nl")[0].partition(" de")[0].partition(" en")[0] for cell in cells} == {
        *ROWS
    }
    assert len(cells) == len(ROWS) + 2  # three sources, of which the table shows the best
    for cell in cells:
        assert cell.target == "af-ZA"
        low, high = cell.interval
        assert 0 <= low <= cell.accuracy <= high <= 1
    looked_at = {cell.supervision: cell.identity.label for cell in cells}
    assert looked_at.keys() == {"none", "target-labels"}
    assert looked_at["target-labels"] == ROWS[0]
    (iterative,) = [cell for cell in cells if cell.kind == "iterative"]
    assert sum(iterative.weights.values()) == pytest.approx(1, abs=1e-12)
    table = (first.parent / PRINTED).read_text(encoding="utf-8").partition("target's labels used\n")[2].splitlines()[1:]
    shown = [line.partition("  ")[0] for line in table[: len(ROWS)]]
    assert [name if not name.startswith("source ") else "source" for name in shown] == ROWS
    assert "(best of 3, by test labels)" in shown[1]


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
    sources = [path.parent.name for path in (first / "comparison" / "models").glob("*/*/config.json")]
    sources = [name for name in sources if "pooled" not in name]
    assert sorted(sources) == sorted(f"xlm-r-cldr_cldr_{tag}" for tag in ("af-ZA", "de-DE", "en-US", "nl-NL"))


def test_the_joint_model_is_the_one_that_multilingual_trains(fit: Fit, first: Path) -> None:
    alone = fit("--multilingual", "--compare", "false")
    (compared,) = (first / "comparison" / "models").glob("*/*_pooled-*/model.safetensors")
    assert compared.read_bytes() == (alone / "multilingual" / "model.safetensors").read_bytes()
    (result,) = read_store(alone).cells
    (same,) = [cell for cell in read_store(first).cells if cell.kind == "joint"]
    assert (result.identity, result.accuracy) == (same.identity, same.accuracy)


def test_two_runs_with_one_seed_are_the_same_and_another_seed_is_not(fit: Fit, first: Path) -> None:
    again, other = fit(), fit("--seed", "1", "--compare", "false")
    assert _scores(first) == _scores(again) != {}
    weights = [(folder / "merged" / "model.safetensors").read_bytes() for folder in (first, again, other)]
    assert weights[0] == weights[1] != weights[2]


def _scores(folder: Path) -> dict[str, tuple[float, float]]:
    return {cell.identity.digest: (cell.accuracy, cell.macro_f1) for cell in read_store(folder).cells}
