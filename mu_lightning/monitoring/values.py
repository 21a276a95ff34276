"""Converts merge records to metrics and tables, for logs and plots.

A record is a dictionary of plain values, see `MergeCallback.history`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

AXIS = "merge/index"
ENSEMBLE = "ensemble"
MERGED = "merged model"

Record = Mapping[str, Any]

# Columns of `model_rows`.
MODEL_COLUMNS = ("scored on", "model", "weight", "accuracy before", "accuracy after", "gain")


def primary(record: Record) -> str:
    """Returns the primary target of a record."""
    return next(iter(record["targets"]))


def members(record: Record) -> list[str]:
    """Returns the members with weights for any target, in order."""
    return list(dict.fromkeys(name for found in record["targets"].values() for name in found["weights"]))


def merge_values(record: Record) -> dict[str, float]:
    """Returns the metrics of a merge, named ``merge/...``; those of further targets ``merge/<target>/...``.

    Accuracies are on dev splits, from 0 to 1; distances are relative to the norm of the task vectors.
    """
    values: dict[str, float] = {
        AXIS: record["index"],
        "merge/epoch": record["epoch"],
        "merge/step": record["step"],
        "merge/committed": float(record["committed"]),
        "merge/seconds": record["seconds"],
        "merge/drift": record["drift"],
    }
    for place, (target, found) in enumerate(record["targets"].items()):
        prefix = f"merge/{target}" if place else "merge"
        values |= {
            f"{prefix}/accuracy_before": found["mean_before"],
            f"{prefix}/accuracy_after": found["after"],
            f"{prefix}/gain": found["gain"],
            **{f"{prefix}/before/{name}": value for name, value in found["before"].items()},
            **{f"{prefix}/weight/{name}": value for name, value in found["weights"].items()},
        }
    for name, found in record["sources"].items():
        values |= {f"merge/source_before/{name}": found["before"], f"merge/source_after/{name}": found["after"]}
    # TensorBoard does not support "|" in names.
    return values | {f"merge/distance/{pair.replace('|', '_')}": value for pair, value in record["distances"].items()}


def merge_words(record: Record) -> dict[str, str]:
    """Returns the text values of a merge, named ``merge/...``."""
    return {f"merge/{name}": str(record[name]) for name in ("reason", "method", "sync", "moments")} | {
        "merge/schedule": json.dumps(record["schedule"], ensure_ascii=False, sort_keys=True)
    }


def model_rows(record: Record) -> list[tuple[Any, ...]]:
    """Returns one row per model and locale around a merge, in the order of `MODEL_COLUMNS`.

    Members have a merge weight and an accuracy before, the merged model an accuracy after the merge. Rows of source
    locales have the member before and the merged model after.
    """
    rows: list[tuple[Any, ...]] = []
    for target, found in record["targets"].items():
        for name, accuracy in found["before"].items():
            rows.append((target, name, found["weights"].get(name), accuracy, None, found["after"] - accuracy))
        rows.append((target, MERGED, None, found["mean_before"], found["after"], found["gain"]))
    for name, found in record["sources"].items():
        rows.append((name, name, None, found["before"], found["after"], found["after"] - found["before"]))
    return rows


def outcome(record: Record) -> str:
    """Describes whether a merge was kept, for all targets or some."""
    kept = [target for target, found in record["targets"].items() if found["committed"]]
    if len(kept) == len(record["targets"]):
        return "kept"
    return f"kept for {', '.join(kept)} only" if kept else "rolled back"


def history_table(history: Sequence[Record]) -> Any:
    """Returns all merges as a data frame: `merge_values` and `merge_words`."""
    import pandas

    return pandas.DataFrame([merge_values(record) | merge_words(record) for record in history])
