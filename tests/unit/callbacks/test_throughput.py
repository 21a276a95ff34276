"""Utterances a second and memory are logged as often as the Trainer logs, of training alone."""

import time
from pathlib import Path
from typing import Any

import pandas
import pytest
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from mu_lightning.callbacks.throughput import Throughput, memory, utterances

MEMBERS = ["en-US", "nl-NL"]  # 61 and 21 rows: 8 steps of 8 rows, and 3


class Slow(Callback):
    """Makes each training batch take at least so long, and each validation as well."""

    def on_train_batch_start(self, *_: Any) -> None:
        time.sleep(0.02)

    def on_validation_end(self, *_: Any) -> None:
        time.sleep(1.0)


def logged(tmp_path: Path, trainer: Any, joint: Any, data_module: Any, **arguments: Any) -> pandas.DataFrame:
    fitting = trainer(
        1,
        Throughput(),
        Slow(),
        logger=CSVLogger(tmp_path, name="logs", version="fit"),
        log_every_n_steps=4,
        **arguments,
    )
    fitting.fit(joint(MEMBERS), datamodule=data_module(MEMBERS))
    table = pandas.read_csv(tmp_path / "logs" / "fit" / "metrics.csv")
    return table[table["speed/utterances_per_second"].notna()]


def test_speed_and_memory_are_logged_at_the_trainers_interval(
    tmp_path: Path, trainer: Any, joint: Any, data_module: Any
) -> None:
    table = logged(tmp_path, trainer, joint, data_module)
    assert table["step"].tolist() == [3, 7]
    # The batches' order decides which four steps have the last, short ones.
    rows = table["speed/utterances_per_second"] / table["speed/steps_per_second"] * 4
    assert rows.sum() == pytest.approx(61 + 21, rel=1e-3)
    assert rows.iloc[0] > rows.iloc[1], "the shorter member's epoch is over"
    assert (table["speed/steps_per_second"] < 1 / 0.02).all()
    assert (table["speed/steps_per_second"] > 1).all()
    assert (table["memory/process_0_gib"] > 0.05).all()
    assert not [name for name in table if "cuda" in name]


def test_time_in_validation_does_not_count(tmp_path: Path, trainer: Any, joint: Any, data_module: Any) -> None:
    table = logged(tmp_path, trainer, joint, data_module, limit_val_batches=1.0, val_check_interval=6)
    # The last four steps hold a validation of more than a second.
    assert table["speed/steps_per_second"].iloc[-1] > 4


def test_a_batch_counts_the_rows_of_members_that_still_learn() -> None:
    batch = {"en-US": {"labels": [0] * 8}, "nl-NL": {"labels": [0] * 5}, "de-DE": {"labels": [0] * 3}}
    assert utterances(batch, stopped={"de-DE"}) == 13


def test_a_last_step_of_fewer_batches_is_a_whole_step(
    tmp_path: Path, trainer: Any, joint: Any, data_module: Any
) -> None:
    fitting = trainer(
        2,
        Throughput(),
        logger=CSVLogger(tmp_path, name="logs", version="fit"),
        log_every_n_steps=6,
        accumulate_grad_batches=3,
    )
    fitting.fit(joint(MEMBERS), datamodule=data_module(MEMBERS))
    table = pandas.read_csv(tmp_path / "logs" / "fit" / "metrics.csv")
    table = table[table["speed/utterances_per_second"].notna()]
    # Eight batches an epoch are three steps, of three, three and two batches: all rows of two epochs in six steps.
    assert table["step"].tolist() == [5]
    rows = table["speed/utterances_per_second"] / table["speed/steps_per_second"] * 6
    assert rows.sum() == pytest.approx(2 * (61 + 21), rel=1e-3)


def test_memory_of_the_process_grows_with_what_it_holds() -> None:
    import torch

    before, peak = memory(torch.device("cpu"))
    held = torch.ones(64, 1024, 1024)
    after, _ = memory(torch.device("cpu"))
    assert after - before == pytest.approx(held.numel() * 4 / 1024**3, rel=0.2)
    assert peak == 0
