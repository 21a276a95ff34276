"""Each merge is reported once, under ``merge/*`` with its index as the x axis, to every logger and to files."""

import json
import re
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from mu_lightning.callbacks.dashboard import Dashboard
from mu_lightning.callbacks.logs import ContinuedLogs
from mu_lightning.callbacks.merge import MergeCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mu_lightning.monitoring import wandb_files
from mu_lightning.monitoring.loggers import run_loggers
from mu_lightning.monitoring.sinks import report_models
from mu_lightning.monitoring.values import merge_values, model_rows
from mu_lightning.schedules.schedules import EveryEpochs
from tests.conftest import merge_settings

WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}
Run = Callable[..., MergeCallback]


@pytest.fixture
def run(joint: Any, data_module: Any, trainer: Any, tmp_path: Path) -> Run:
    """Three epochs with a merge after each, watched by a dashboard: ``run(*loggers)``."""

    def go(
        *loggers: Logger,
        epochs: int = 3,
        also: tuple[Callback, ...] = (),
        folder: str = "run",
        tolerance: float | None = None,
        **fit: Any,
    ) -> MergeCallback:
        merges = MergeCallback("af-ZA", WEIGHTS, EveryEpochs(1), merge_settings(tolerance=tolerance))
        fitting = trainer(
            epochs,
            merges,
            Dashboard(merges, tmp_path / folder),
            ContinuedLogs(),
            *also,
            logger=list(loggers) or False,
            log_every_n_steps=1,
            enable_checkpointing=bool(also),
            limit_val_batches=1.0,
        )
        fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)), **fit)
        return merges

    return go


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """W&B writes to this test's folder alone."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))


def finish(logger: Any) -> list[tuple[str, Any]]:
    """Ends a W&B run; its records of this time, with their kinds, once W&B's own process has written them all."""
    folder = Path(logger.experiment.dir).parent
    logger.experiment.finish()
    (file,) = folder.glob("run-*.wandb")
    for _ in range(100):
        found = [(record.WhichOneof("record_type"), record) for record in wandb_files.records(file)]
        if "exit" in dict(found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{file} has no end")


def numbers(values: dict[str, Any]) -> Any:
    return pytest.approx(values, abs=1e-6)  # TensorBoard keeps float32


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), purge_orphaned_data=False)
    events.Reload()
    return {name: [(scalar.step, scalar.value) for scalar in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_the_runs_folder_has_table_page_and_pictures(run: Run, tmp_path: Path) -> None:
    merges = run()
    table = pandas.read_csv(tmp_path / "run" / "merges.csv")
    assert table["merge/index"].tolist() == [1, 2, 3]
    assert table["merge/reason"].tolist() == ["every epoch"] * 3
    for line, record in zip(table.to_dict("records"), merges.history, strict=True):
        assert {name: line[name] for name in merge_values(record)} == numbers(merge_values(record))
    page = (tmp_path / "run" / "merges.html").read_text(encoding="utf-8")
    assert [index for index in range(1, 5) if f'<details id="merge-{index}"' in page] == [1, 2, 3]
    picture = (tmp_path / "run" / "merges.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(picture).tag.endswith("svg")
    last = f"<!-- {100 * merges.history[-1]['targets']['af-ZA']['after']:.1f} -->"
    assert last in picture, "the last merge is drawn at the end at the latest"
    assert (tmp_path / "run" / "merges.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "run").iterdir())) == 4, "a temporary is left behind"


def test_the_page_marks_what_was_rolled_back(run: Run, tmp_path: Path) -> None:
    run(epochs=1, tolerance=-1.0)  # no merge gains a whole point of 1
    assert '<tr class="rolled-back">' in (tmp_path / "run" / "merges.html").read_text(encoding="utf-8")


def test_tensorboard_gets_every_value_with_the_merges_index_as_step(run: Run, tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path / "tensorboard", name="", version="")
    merges = run(logger)
    found = scalars(Path(logger.log_dir))
    for name in merge_values(merges.history[0]):
        assert [step for step, _ in found[name]] == [1, 2, 3]
        assert [value for _, value in found[name]] == numbers([merge_values(one)[name] for one in merges.history])  # type: ignore[arg-type]


def test_tensorboard_gets_a_layout_of_charts_and_a_report_a_merge(run: Run, tmp_path: Path) -> None:
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    logger = TensorBoardLogger(tmp_path / "tensorboard", name="", version="")
    merges = run(logger, epochs=2)
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    (config,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(config.tensor_proto.string_val[0])
    tags = [tag for chart in layout.category[0].chart for tag in chart.multiline.tag]
    logged = merge_values(merges.history[0])
    assert all(any(re.fullmatch(tag, name) for name in logged) for tag in tags), "each chart shows something"
    texts = [one.tensor_proto.string_val[0].decode() for one in events.Tensors("merge/report/text_summary")]
    assert len(texts) == 2
    assert texts[0].startswith("every epoch: kept\n")
    assert f"| af-ZA | en-US | 0.5000 | {merges.history[0]['targets']['af-ZA']['before']['en-US']:.4f} |" in texts[0]


def test_the_csv_log_of_steps_has_no_merges_in_it(run: Run, tmp_path: Path) -> None:
    run(CSVLogger(tmp_path, name="logs", version="fit"), epochs=1)
    columns = pandas.read_csv(tmp_path / "logs" / "fit" / "metrics.csv").columns
    assert "train/loss/en-US" in columns
    assert not [column for column in columns if column.startswith("merge/")]


@pytest.mark.usefixtures("offline")
def test_an_offline_wandb_run_records_numbers_tables_bars_and_the_merged_model(run: Run, tmp_path: Path) -> None:
    logger = WandbLogger(project="tests", save_dir=tmp_path)
    merges = run(logger)
    for name in ("merged", "merges/0001", "merges/0003/af-ZA", "merges/0003/sq-AL"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "config.json").write_text(json.dumps(name))
    (tmp_path / "run" / "merges" / "kept.json").write_text('{"best": "0001"}')
    report_models(logger, tmp_path / "run", "af-ZA", tmp_path / "run" / "merged", {"merges": 3})
    records = finish(logger)
    identity = wandb_files.run_id(tmp_path)
    assert identity is not None
    lines = [line for line in wandb_files.history(tmp_path, identity) if "merge/index" in line]
    assert [line["merge/index"] for line in lines] == [1, 2, 3]
    for line, record in zip(lines, merges.history, strict=True):
        assert {name: line[name] for name in merge_values(record)} == numbers(merge_values(record))
    (files,) = tmp_path.glob("wandb/offline-run-*/files")
    stepped = {
        one.metric.glob_name or one.metric.name: one.metric.step_metric for kind, one in records if kind == "metric"
    }
    assert stepped["merge/*"] == "merge/index"
    tables = {
        name: json.loads((files / lines[-1][f"{name}/path"]).read_text())
        for name in ("merge/models", "merge/all", "merge/distances", "merge/weights_table")
    }
    assert tables["merge/models"]["data"] == [list(row) for row in model_rows(merges.history[-1])]
    assert [row[0] for row in tables["merge/all"]["data"]] == [1, 2, 3]
    assert [row[:2] for row in tables["merge/distances"]["data"]] == [
        ["en-US", "de-DE"],
        ["en-US", "nl-NL"],
        ["de-DE", "nl-NL"],
    ]
    assert tables["merge/weights_table"]["data"] == [list(item) for item in WEIGHTS.items()]
    assert any(kind == "config" and "wandb/bar/v0" in str(one) for kind, one in records), "the bar of weights"
    models = [one.artifact for kind, one in records if kind == "artifact" and one.artifact.type == "model"]
    assert [(one.name, json.loads(one.metadata), sorted(one.aliases)) for one in models] == [
        ("run-merged-af-ZA", {"target": "af-ZA", "merge": 1}, ["best", "latest", "merge-1"]),
        ("run-merged-af-ZA", {"target": "af-ZA", "merge": 3}, ["latest", "merge-3"]),
        ("run-merged-af-ZA", {"target": "af-ZA", "merges": 3}, ["final", "latest"]),
    ]
    assert len({entry.digest for one in models for entry in one.manifest.contents}) == 3


def test_each_merge_is_said_in_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    merges = run(epochs=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("merge ")]
    assert len(lines) == 2
    first = merges.history[0]["targets"]["af-ZA"]
    assert lines[0] == (
        f"merge 1, epoch 1, step 8 (every epoch): af-ZA dev accuracy {first['mean_before']:.3f} (members' mean) -> "
        f"{first['after']:.3f}, committed"
    )


@pytest.mark.usefixtures("offline")
def test_a_resumed_runs_logs_are_those_of_an_undisturbed_one(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def watched(folder: str, checkpoint: Path | None = None) -> None:
        loggers = run_loggers(tmp_path / folder, tensorboard=True, wandb=True)
        saving = ModelCheckpoint(tmp_path / folder / "ckpt", "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        more = {"ckpt_path": str(checkpoint), "weights_only": True} if checkpoint else {}
        run(*loggers, also=(saving,), folder=folder, **more)
        finish(loggers[-1])

    watched("undisturbed")
    watched("disturbed")
    for name in ("merges.csv", "merges.html"):
        (tmp_path / "disturbed" / name).unlink()
    capsys.readouterr()
    watched("disturbed", tmp_path / "disturbed" / "ckpt" / "epoch=0.ckpt")
    said = [line.split(" (")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("merge ")]
    assert said == ["merge 2, epoch 2, step 16", "merge 3, epoch 3, step 24"]
    logs = {}
    for name in ("undisturbed", "disturbed"):
        folder = tmp_path / name
        identity = wandb_files.run_id(folder)
        assert identity is not None
        rows = [
            {key: value for key, value in line.items() if isinstance(value, int | float)}
            for line in wandb_files.history(folder, identity)
        ]
        assert [row["trainer/row"] for row in rows] == list(range(1, len(rows) + 1))
        own = ("merge/seconds", "_timestamp", "_runtime", "_step")
        logs[name] = (
            pandas.read_csv(folder / "logs" / "fit" / "metrics.csv").to_csv(),
            {key: found for key, found in scalars(folder / "tensorboard" / "fit").items() if key != "merge/seconds"},
            [
                {key: value for key, value in row.items() if not key.startswith(own) and "/size" not in key}
                for row in rows
            ],
            pandas.read_csv(folder / "merges.csv").drop(columns="merge/seconds").to_csv(),
        )
    for undisturbed, disturbed in zip(logs["undisturbed"], logs["disturbed"], strict=True):
        assert undisturbed == disturbed
    assert [step for step, _ in logs["disturbed"][1]["merge/index"]] == [1, 2, 3]
