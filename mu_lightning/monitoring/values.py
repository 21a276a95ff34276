"""A merge's record as flat numbers and as tables: what every log and every picture of merges is made from.

A record is a dictionary of plain values, as `MergeCallback.history` holds one for each merge.
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
    """The first target: the one whose merged model the members are scored with on their own locales."""
    return next(iter(record["targets"]))


def members(record: Record) -> list[str]:
    """The names of the members that the merge weighed, for any of its targets, in the order of the weights."""
    return list(dict.fromkeys(name for found in record["targets"].values() for name in found["weights"]))


def merge_values(record: Record) -> dict[str, float]:
    """A merge's record as flat numbers named ``merge/...``; those of further targets stand under ``merge/<target>/``.

    Accuracies are shares of 1, on dev splits; distances are relative to the length of the task vectors.
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
    # TensorBoard takes no "|" in a name.
    return values | {f"merge/distance/{pair.replace('|', '_')}": value for pair, value in record["distances"].items()}


def merge_words(record: Record) -> dict[str, str]:
    """What of a merge's record is no number, named ``merge/...``."""
    return {f"merge/{name}": str(record[name]) for name in ("reason", "method", "sync", "moments")} | {
        "merge/schedule": json.dumps(record["schedule"], ensure_ascii=False, sort_keys=True)
    }


def model_rows(record: Record) -> list[tuple[Any, ...]]:
    """A line for each model and each locale that it was scored on around the merge, in the order of `MODEL_COLUMNS`.

    A member has its merge weight and its accuracy before; the merged model has an accuracy after it. On the sources'
    own locales a line shows the member before and the merged model after.
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
    """Whether the merge was committed, for every target or for which."""
    kept = [target for target, found in record["targets"].items() if found["committed"]]
    if len(kept) == len(record["targets"]):
        return "committed"
    return f"committed for {', '.join(kept)} only" if kept else "rolled back"


def history_table(history: Sequence[Record]) -> Any:
    """All merges as a data frame, a line each: `merge_values`, then `merge_words`."""
    import pandas

    return pandas.DataFrame([merge_values(record) | merge_words(record) for record in history])
