"""Each merge is reported once, under ``merge/*`` with its index as the x axis, to every logger, a table, a picture."""

import json
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from callbacks.dashboard import Dashboard, merge_values
from callbacks.merge import MergeCallback
from mu_lightning.schedules import EveryEpochs
from mu_lightning.settings import MergeSettings

WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}


@pytest.fixture
def run(joint: Any, data_module: Any, trainer: Any, tmp_path: Path) -> Callable[..., MergeCallback]:
    """Three epochs with a merge after each, watched by a dashboard: ``run(*loggers)``."""

    def go(*loggers: Logger, epochs: int = 3, also: tuple[Callback, ...] = (), **fit: Any) -> MergeCallback:
        merges = MergeCallback("af-ZA", WEIGHTS, EveryEpochs(1), MergeSettings())
        fitting = trainer(
            epochs,
            merges,
            Dashboard(merges, tmp_path / "run"),
            *also,
            logger=list(loggers) or False,
            log_every_n_steps=1,
            enable_checkpointing=bool(also),
        )
        fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)), **fit)
        return merges

    return go


def numbers(values: dict[str, Any]) -> Any:
    return pytest.approx(values, abs=1e-6)  # TensorBoard keeps float32


def test_the_table_has_a_line_a_merge_and_the_pictures_parse(run: Callable[..., MergeCallback], tmp_path: Path) -> None:
    merges = run()
    table = pandas.read_csv(tmp_path / "run" / "merges.csv")
    assert table["merge/index"].tolist() == [1, 2, 3]
    assert table["merge/reason"].tolist() == ["every epoch"] * 3
    for line, record in zip(table.to_dict("records"), merges.history, strict=True):
        assert {name: line[name] for name in merge_values(record)} == numbers(merge_values(record))
    assert ElementTree.parse(tmp_path / "run" / "merges.svg").getroot().tag.endswith("svg")
    assert (tmp_path / "run" / "merges.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "run").iterdir())) == 3, "a temporary is left behind"


def test_a_merges_values_are_flat_numbers() -> None:
    record = {
        "index": 2,
        "epoch": 4,
        "step": 30,
        "reason": "every 2 epochs",
        "method": "linear",
        "sync": "replace",
        "moments": "average",
        "committed": False,
        "seconds": 1.5,
        "targets": {
            "af-ZA": {
                "weights": {"en-US": 0.75, "de-DE": 0.25},
                "before": {"en-US": 0.5, "de-DE": 0.25, "ensemble": 0.625},
                "mean_before": 0.375,
                "after": 0.25,
                "gain": -0.125,
                "committed": False,
            },
            "sq-AL": {
                "weights": {"en-US": 1.0},
                "before": {"en-US": 0.5, "ensemble": 0.5},
                "mean_before": 0.5,
                "after": 0.75,
                "gain": 0.25,
                "committed": True,
            },
        },
        "sources": {"en-US": {"before": 0.875, "after": 0.5}},
        "distances": {"en-US|de-DE": 1.25},
        "drift": 1.25,
        "schedule": {"name": "every-epochs"},
    }
    assert merge_values(record) == {
        "merge/index": 2,
        "merge/epoch": 4,
        "merge/step": 30,
        "merge/committed": 0.0,
        "merge/seconds": 1.5,
        "merge/drift": 1.25,
        "merge/accuracy_before": 0.375,
        "merge/accuracy_after": 0.25,
        "merge/gain": -0.125,
        "merge/before/en-US": 0.5,
        "merge/before/de-DE": 0.25,
        "merge/before/ensemble": 0.625,
        "merge/weight/en-US": 0.75,
        "merge/weight/de-DE": 0.25,
        "merge/sq-AL/accuracy_before": 0.5,
        "merge/sq-AL/accuracy_after": 0.75,
        "merge/sq-AL/gain": 0.25,
        "merge/sq-AL/before/en-US": 0.5,
        "merge/sq-AL/before/ensemble": 0.5,
        "merge/sq-AL/weight/en-US": 1.0,
        "merge/source_before/en-US": 0.875,
        "merge/source_after/en-US": 0.5,
    }


def test_tensorboard_gets_every_value_with_the_merges_index_as_step(
    run: Callable[..., MergeCallback], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path / "tensorboard", name="", version="")
    merges = run(logger)
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    wanted = merge_values(merges.history[0])
    assert wanted.keys() <= set(events.Tags()["scalars"])
    for name in wanted:
        scalars = events.Scalars(name)
        assert [scalar.step for scalar in scalars] == [1, 2, 3]
        assert [scalar.value for scalar in scalars] == numbers(
            [merge_values(record)[name] for record in merges.history]
        )


def test_the_csv_log_of_steps_has_no_merges_in_it(run: Callable[..., MergeCallback], tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="logs", version="fit")
    run(logger)
    columns = pandas.read_csv(tmp_path / "logs" / "fit" / "metrics.csv").columns
    assert "train/loss/en-US" in columns
    assert not [column for column in columns if column.startswith("merge/")]


def chunks(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format (blocks of 32 KiB) behind a header of 7 bytes."""
    content, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:  # too little for a record's header: padding
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a full record, or the last part of one
            yield whole
            whole = b""


def read_wandb(folder: Path) -> tuple[list[dict[str, Any]], list[Any]]:
    """The history lines and metric definitions that an offline run has recorded."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.rglob("*.wandb")
    history, metrics = [], []
    for chunk in chunks(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(chunk)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            history.append({"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
        elif record.WhichOneof("record_type") == "metric":
            metrics.append(record.metric)
    return history, metrics


def test_an_offline_wandb_run_records_merges_with_their_index_as_step_metric(
    run: Callable[..., MergeCallback], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    merges = run(WandbLogger(project="tests", save_dir=tmp_path))
    wandb.finish()
    history, metrics = read_wandb(tmp_path)
    lines = [line for line in history if "merge/index" in line]
    assert [line["merge/index"] for line in lines] == [1, 2, 3]
    for line, record in zip(lines, merges.history, strict=True):
        assert {name: line[name] for name in merge_values(record)} == numbers(merge_values(record))
    stepped = {metric.glob_name or metric.name: metric.step_metric for metric in metrics}
    assert stepped["merge/*"] == "merge/index"


def test_each_merge_is_said_in_one_line(run: Callable[..., MergeCallback], capsys: pytest.CaptureFixture[str]) -> None:
    merges = run(epochs=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("merge ")]
    assert len(lines) == 2
    first = merges.history[0]["targets"]["af-ZA"]
    assert lines[0] == (
        f"merge 1 after epoch 1 (every epoch): af-ZA dev accuracy {first['mean_before']:.3f} (members' mean) -> "
        f"{first['after']:.3f}, committed"
    )


def test_a_resumed_run_reports_no_merge_twice_and_its_table_has_them_all(
    run: Callable[..., MergeCallback], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saving = ModelCheckpoint(tmp_path / "ckpt", "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    run(also=(saving,))
    (tmp_path / "run" / "merges.csv").unlink()
    capsys.readouterr()
    run(
        also=(ModelCheckpoint(tmp_path / "again"),),
        ckpt_path=str(tmp_path / "ckpt" / "epoch=0.ckpt"),
        weights_only=True,
    )
    said = [line.split(" (")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("merge ")]
    assert said == ["merge 2 after epoch 2", "merge 3 after epoch 3"]
    assert pandas.read_csv(tmp_path / "run" / "merges.csv")["merge/index"].tolist() == [1, 2, 3]
