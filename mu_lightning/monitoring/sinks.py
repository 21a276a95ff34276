"""Sinks of merge reports: one function per logger or file. To add a sink, add a function and a line here."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from mu_lightning.monitoring.loggers import RunLogger, TableLogger
from mu_lightning.monitoring.page import write_page
from mu_lightning.monitoring.plots import draw_merges
from mu_lightning.monitoring.values import AXIS, MODEL_COLUMNS, Record, history_table, merge_values, model_rows, outcome
from mu_lightning.utilities.files import atomic_file
from mu_lightning.utilities.reading import read_json_object
from mu_lightning.utilities.table_cells import safe_frame
from mu_lightning.utilities.tables import markdown_table, markdown_text

# W&B keeps every version of a table: beyond this number of merges the table is sent with every tenth merge only.
_WHOLE_TABLES = 100


def report(logger: Logger, history: Sequence[Record]) -> None:
    """Reports the last merge to a logger."""
    for kind, function in LOGGERS.items():
        if isinstance(logger, kind):
            function(logger, history)
            return
    logger.log_metrics(merge_values(history[-1]), step=history[-1]["index"])


def report_models(logger: Logger, run: Path, target: str, final: Path, metadata: Mapping[str, Any]) -> None:
    """Logs the merged models of a target as W&B artifacts; other loggers ignore them.

    Kept models are versions of the artifact ``<run>-merged-<target>``, with the alias ``merge-<index>``, and ``best``
    for the best one; the last version is the result of the run, ``final``.

    Args:
        logger: the logger.
        run: the run folder.
        target: the target locale.
        final: model folder of the result.
        metadata: metadata as plain values.
    """
    if not isinstance(logger, WandbLogger):
        return
    import wandb

    kept = run / "merges" / "kept.json"
    best = read_json_object(kept).get("best") if kept.is_file() else None
    versions = []
    for folder in sorted(path for path in (run / "merges").glob("*") if path.name.isdecimal()):
        model = folder if (folder / "config.json").is_file() else folder / target  # one for each target
        if (model / "config.json").is_file():
            aliases = [f"merge-{int(folder.name)}", *(["best"] if folder.name == best else [])]
            versions.append((model, {"merge": int(folder.name)}, aliases))
    for model, more, aliases in [*versions, (final, dict(metadata), ["final"])]:
        name = re.sub(r"[^\w.-]+", "-", f"{run.name}-merged-{target}")
        artifact = wandb.Artifact(name, type="model", metadata={"target": target, **more})
        # Large files are not copied to W&B's cache: the folder is immutable.
        artifact.add_dir(str(model), skip_cache=True, policy="immutable")
        logger.experiment.log_artifact(artifact, aliases=aliases)


def _to_wandb(logger: Any, history: Sequence[Record]) -> None:
    import wandb

    record = history[-1]
    logger.experiment.define_metric(AXIS)
    logger.experiment.define_metric("merge/*", step_metric=AXIS)
    values: dict[str, Any] = dict(merge_values(record))
    values["merge/models"] = wandb.Table(columns=list(MODEL_COLUMNS), data=[list(row) for row in model_rows(record)])
    distances = [[*pair.split("|"), value] for pair, value in record["distances"].items()]
    values["merge/distances"] = wandb.Table(columns=["member", "other member", "distance"], data=distances)
    if len(history) <= _WHOLE_TABLES or len(history) % 10 == 0:
        values["merge/all"] = wandb.Table(
            columns=list(HISTORY_COLUMNS), data=[list(row) for row in history_rows(history)]
        )
    for place, (target, found) in enumerate(record["targets"].items()):
        weights = wandb.Table(columns=["member", "weight"], data=[list(item) for item in found["weights"].items()])
        key = f"merge/{target}/weights" if place else "merge/weights"
        values[key] = wandb.plot.bar(weights, "member", "weight", title=f"Merge weights for {target}")
    if isinstance(logger, RunLogger):
        logger.log_row(values)
    else:
        logger.experiment.log(values)


def _to_tensorboard(logger: Any, history: Sequence[Record]) -> None:
    record = history[-1]
    if len(history) == 1:
        logger.experiment.add_custom_scalars(_layout(record))
    logger.log_metrics(merge_values(record), step=record["index"])
    rows = [tuple("" if value is None else markdown_text(_short(value)) for value in row) for row in model_rows(record)]
    text = f"{record['reason']}: {outcome(record)}\n\n{markdown_table(MODEL_COLUMNS, rows)}"
    logger.experiment.add_text("merge/report", text, record["index"])


def _layout(record: Record) -> dict[str, Any]:
    """Layout of TensorBoard's custom scalars; tags are regular expressions."""
    charts: dict[str, list[Any]] = {}
    for place, target in enumerate(record["targets"]):
        prefix = re.escape(f"merge/{target}" if place else "merge")
        charts[f"{target}: accuracy of the members before"] = ["Multiline", [f"{prefix}/before/.*"]]
        charts[f"{target}: mean before, merged model after"] = ["Multiline", [f"{prefix}/accuracy_(before|after)"]]
        charts[f"{target}: merge weights"] = ["Multiline", [f"{prefix}/weight/.*"]]
    charts["own locales: members before, merged model after"] = ["Multiline", ["merge/source_(before|after)/.*"]]
    charts["distances between members"] = ["Multiline", ["merge/drift", "merge/distance/.*"]]
    return {"Merges": charts}


def _nowhere(logger: Any, history: Sequence[Record]) -> None:
    """The CSV log is by optimizer step: merges are in ``merges.csv``."""


LOGGERS: dict[type[Logger], Callable[[Any, Sequence[Record]], None]] = {
    WandbLogger: _to_wandb,
    TensorBoardLogger: _to_tensorboard,
    TableLogger: _nowhere,
    CSVLogger: _nowhere,
}

HISTORY_COLUMNS = ("merge", "epoch", "target", "reason", "mean before", "ensemble before", "after", "gain", "outcome")


def history_rows(history: Sequence[Record]) -> list[tuple[Any, ...]]:
    """Returns one row per merge and target, in the order of `HISTORY_COLUMNS`."""
    return [
        (
            record["index"],
            record["epoch"],
            target,
            record["reason"],
            found["mean_before"],
            found["before"]["ensemble"],
            found["after"],
            found["gain"],
            "committed" if found["committed"] else "rolled back",
        )
        for record in history
        for target, found in record["targets"].items()
    ]


def write_files(folder: Path, history: Sequence[Record]) -> None:
    """Writes ``merges.csv`` and ``merges.html`` atomically."""
    with atomic_file(folder / "merges.csv") as temporary:
        safe_frame(history_table(history)).to_csv(temporary, index=False)
    write_page(history, folder / "merges.html", folder.name)


def write_plots(folder: Path, history: Sequence[Record]) -> None:
    """Writes ``merges.svg`` and ``merges.png`` atomically."""
    draw_merges(history, folder / "merges")


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
