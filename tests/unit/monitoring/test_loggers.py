"""A run's logs go on from a position: nothing twice, nothing half-written, nothing lost."""

import time
from pathlib import Path

import pandas
import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mu_lightning.monitoring.loggers import ContinuedLogger, EventLogger, RunLogger, TableLogger, run_loggers


def table(folder: Path) -> list[dict[str, float]]:
    lines = pandas.read_csv(folder / "logs" / "fit" / "metrics.csv").to_dict("records")
    return [{name: value for name, value in line.items() if value == value} for line in lines]


def logged(logger: TableLogger, *values: float, name: str = "loss") -> None:
    for place, value in enumerate(values):
        logger.log_metrics({name: value}, step=place)


def opened(folder: Path) -> TableLogger:
    return TableLogger(folder, name="logs", version="fit")


def test_a_new_column_leaves_earlier_rows_as_they_were(tmp_path: Path) -> None:
    logger = opened(tmp_path)
    logged(logger, 0.1, 0.2)
    logger.save()
    logged(logger, 0.5, name="accuracy")
    assert logger.position() == 3
    assert table(tmp_path) == [{"loss": 0.1, "step": 0}, {"loss": 0.2, "step": 1}, {"accuracy": 0.5, "step": 0}]


def test_a_continued_table_keeps_what_was_logged_before_its_position(tmp_path: Path) -> None:
    first = opened(tmp_path)
    logged(first, 0.1, 0.2)
    position = first.position()
    logged(first, 0.3, name="later")
    first.save()
    second = opened(tmp_path)
    second.continue_from(position)
    logged(second, 0.4)
    second.save()
    assert [line["loss"] for line in table(tmp_path)] == [0.1, 0.2, 0.4]
    assert "later" not in pandas.read_csv(tmp_path / "logs" / "fit" / "metrics.csv").columns


def test_a_line_that_a_kill_left_half_written_is_gone(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.log_metrics({"a": 1.5, "b": 2.5}, step=0)
    position = first.position()
    with (tmp_path / "logs" / "fit" / "metrics.csv").open("a") as stream:
        stream.write("3.")
    second = opened(tmp_path)
    second.continue_from(position)
    second.log_metrics({"a": 4.5, "b": 5.5}, step=1)
    second.save()
    assert table(tmp_path) == [{"a": 1.5, "b": 2.5, "step": 0}, {"a": 4.5, "b": 5.5, "step": 1}]


def test_a_kill_before_the_first_checkpoint_leaves_an_empty_table(tmp_path: Path) -> None:
    first = opened(tmp_path)
    logged(first, 0.1)
    first.save()
    second = opened(tmp_path)
    second.continue_from(None)
    logged(second, 0.2)
    second.save()
    assert table(tmp_path) == [{"loss": 0.2, "step": 0}]


def test_continued_events_are_cut_back_to_their_position(tmp_path: Path) -> None:
    first = EventLogger(tmp_path, name="tensorboard", version="fit")
    logged(first, 0.1, 0.2)  # type: ignore[arg-type]
    position = first.position()
    first.log_metrics({"loss": 0.3}, step=2)
    first.finalize("failed")
    time.sleep(1.1)  # files are read in the order of the seconds in their names, and then of a number: 10 before 9
    second = EventLogger(tmp_path, name="tensorboard", version="fit")
    second.log_metrics({"loss": 0.4}, step=2)  # its own file is open before it is told where to go on
    second.continue_from(position)
    third = EventLogger(tmp_path, name="tensorboard", version="fit")
    second.log_metrics({"loss": 0.5}, step=3)
    between = second.position()
    second.log_metrics({"loss": 0.6}, step=4)
    second.finalize("failed")
    time.sleep(1.1)
    third.continue_from(between)
    third.log_metrics({"loss": 0.7}, step=4)
    third.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard" / "fit"), purge_orphaned_data=False)
    events.Reload()
    assert [(one.step, round(one.value, 4)) for one in events.Scalars("loss")] == [
        (0, 0.1),
        (1, 0.2),
        (2, 0.4),
        (3, 0.5),
        (4, 0.7),
    ]


class Run:
    """A run of W&B that keeps what it is told."""

    def __init__(self, **begun: object) -> None:
        self.begun = begun
        self.rows: list[dict[str, float]] = []

    def define_metric(self, name: str, **more: object) -> None:
        pass

    def log(self, values: dict[str, float]) -> None:
        self.rows.append(values)


@pytest.fixture(autouse=True)
def no_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb, "init", Run)


def test_a_wandb_run_begins_with_no_option_that_wandb_has_done_away_with(tmp_path: Path) -> None:
    # Lightning's logger alone would give `anonymous`, of which W&B warns.
    begun = RunLogger(tmp_path / "afrikaans").experiment.begun
    assert begun.keys() == {"project", "name", "dir", "id", "resume"}
    assert begun["name"] == "afrikaans"


def test_a_wandb_row_that_is_recorded_already_is_passed_over(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    logger.recorded = 3
    logger.continue_from(2)
    assert [logger.log_row({"loss": value}) for value in (0.3, 0.4)] == [False, True]
    logger.log_metrics({"loss": 0.5}, step=9)
    assert logger.experiment.rows == [
        {"loss": 0.4, "trainer/row": 4},
        {"loss": 0.5, "trainer/global_step": 9, "trainer/row": 5},
    ]
    assert logger.position() == 5


def test_what_is_logged_of_one_step_is_one_row(tmp_path: Path) -> None:
    logger = opened(tmp_path)
    logger.log_metrics({"loss": 0.5, "epoch": 0}, step=9)
    logger.log_metrics({"speed": 2.0, "epoch": 0}, step=9)
    logger.log_metrics({"loss": 0.4, "epoch": 0}, step=9)
    assert logger.position() == 2
    assert table(tmp_path) == [
        {"loss": 0.5, "speed": 2.0, "epoch": 0, "step": 9},
        {"loss": 0.4, "epoch": 0, "step": 9},
    ]


def test_a_runs_loggers_can_all_be_continued(tmp_path: Path) -> None:
    loggers = run_loggers(tmp_path, tensorboard=True, wandb=True)
    assert [type(logger) for logger in loggers] == [TableLogger, EventLogger, RunLogger]
    assert all(isinstance(logger, ContinuedLogger) for logger in loggers)
    assert [type(logger) for logger in run_loggers(tmp_path)] == [TableLogger]
