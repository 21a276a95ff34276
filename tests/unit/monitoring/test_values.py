"""A merge's record as flat numbers, words and table rows."""

import re
from collections.abc import Callable
from typing import Any

from mu_lightning.monitoring.values import (
    MODEL_COLUMNS,
    history_table,
    members,
    merge_values,
    merge_words,
    model_rows,
    outcome,
)

Make = Callable[..., dict[str, Any]]


def two_targets(make: Make) -> dict[str, Any]:
    record = make(2, ("en-US", "de-DE"), gain=-0.125, committed=True, targets=("af-ZA", "sq-AL"))
    record["targets"]["af-ZA"]["committed"] = False
    record["targets"]["sq-AL"] |= {"weights": {"en-US": 0.25, "it-IT": 0.75}, "before": {"en-US": 0.5, "ensemble": 0.5}}
    return record


def test_a_merges_values_are_flat_numbers(merge_record: Make) -> None:
    record = merge_record(2, ("en-US", "de-DE"), gain=-0.125, committed=False)
    assert merge_values(record) == {
        "merge/index": 2,
        "merge/epoch": 4,
        "merge/step": 20,
        "merge/committed": 0.0,
        "merge/seconds": 1.5,
        "merge/drift": 0.25,
        "merge/accuracy_before": 0.505,
        "merge/accuracy_after": 0.38,
        "merge/gain": -0.125,
        "merge/before/en-US": 0.5,
        "merge/before/de-DE": 0.51,
        "merge/before/ensemble": 0.6,
        "merge/weight/en-US": 0.5,
        "merge/weight/de-DE": 0.5,
        "merge/source_before/en-US": 0.8,
        "merge/source_before/de-DE": 0.8,
        "merge/source_after/en-US": 0.75,
        "merge/source_after/de-DE": 0.75,
        "merge/distance/en-US_de-DE": 0.25,
    }


def test_further_targets_stand_under_their_own_name(merge_record: Make) -> None:
    values = merge_values(two_targets(merge_record))
    assert values["merge/weight/en-US"] == 0.5
    assert values["merge/sq-AL/weight/it-IT"] == 0.75
    assert values["merge/sq-AL/before/ensemble"] == 0.5
    assert members(two_targets(merge_record)) == ["en-US", "de-DE", "it-IT"]


def test_every_name_is_one_that_tensorboard_takes_as_it_is(merge_record: Make) -> None:
    assert [name for name in merge_values(two_targets(merge_record)) if not re.fullmatch(r"[-/\w.]+", name)] == []


def test_a_table_line_has_the_reason_the_method_and_the_schedules_decision(merge_record: Make) -> None:
    table = history_table([merge_record(1), merge_record(2, reason="plateau")])
    assert table["merge/reason"].tolist() == ["every 2 epochs", "plateau"]
    assert table["merge/schedule"][0] == '{"n": 2, "name": "every-epochs"}'
    assert merge_words(merge_record(1)).keys() < set(table.columns)


def test_every_model_has_a_row_with_its_accuracy_before_and_the_merged_models_gain(merge_record: Make) -> None:
    rows = [dict(zip(MODEL_COLUMNS, row, strict=True)) for row in model_rows(merge_record(1, ("en-US", "de-DE")))]
    assert [(row["scored on"], row["model"]) for row in rows] == [
        ("af-ZA", "en-US"),
        ("af-ZA", "de-DE"),
        ("af-ZA", "ensemble"),
        ("af-ZA", "merged model"),
        ("en-US", "en-US"),
        ("de-DE", "de-DE"),
    ]
    assert [row["weight"] for row in rows] == [0.5, 0.5, None, None, None, None]
    assert abs(rows[0]["gain"] - (0.525 - 0.5)) < 1e-12
    assert abs(rows[4]["gain"] + 0.05) < 1e-12


def test_the_outcome_names_the_targets_that_were_committed(merge_record: Make) -> None:
    assert outcome(merge_record(1)) == "kept"
    assert outcome(merge_record(1, committed=False)) == "rolled back"
    assert outcome(two_targets(merge_record)) == "kept for sq-AL only"
