"""Scores against naive loops and torchmetrics; the interval against resampling the rows."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from mu_lightning.evaluation.metrics import accuracy, bootstrap_interval, macro_f1, score


def drawn(seed: int, rows: int = 300, classes: int = 9, gold: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the first `gold` classes and predictions of all, half of them right."""
    random = np.random.default_rng(seed)
    labels = random.integers(gold, size=rows)
    return labels, np.where(random.random(rows) < 0.5, labels, random.integers(classes, size=rows))


def naive_f1(labels: list[int], predictions: list[int]) -> float:
    values = []
    for label in set(labels) | set(predictions):
        pairs = list(zip(labels, predictions, strict=True))
        hits = sum(gold == label and found == label for gold, found in pairs)
        precision = hits / max(1, predictions.count(label))
        recall = hits / max(1, labels.count(label))
        values.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return sum(values) / len(values)


@pytest.mark.parametrize("seed", range(4))
def test_accuracy_and_macro_f1_are_a_naive_loops_and_torchmetrics(seed: int) -> None:
    labels, predictions = drawn(seed)
    gold, found = torch.from_numpy(labels), torch.from_numpy(predictions)
    naive = sum(one == other for one, other in zip(labels.tolist(), predictions.tolist(), strict=True)) / len(labels)
    assert accuracy(labels, predictions) == naive
    assert accuracy(labels, predictions) == pytest.approx(
        multiclass_accuracy(found, gold, num_classes=9, average="micro").item(), abs=1e-6
    )
    assert macro_f1(labels, predictions) == pytest.approx(naive_f1(labels.tolist(), predictions.tolist()), abs=1e-12)
    # torchmetrics too leaves out classes that occur in neither.
    assert macro_f1(labels, predictions) == pytest.approx(
        multiclass_f1_score(found, gold, num_classes=12, average="macro").item(), abs=1e-6
    )


def test_a_label_predicted_but_never_gold_costs_macro_f1_and_one_in_neither_does_not() -> None:
    labels = np.array([0, 0, 5, 5])
    assert macro_f1(labels, labels) == 1
    assert macro_f1(labels, np.array([0, 0, 5, 3])) == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert macro_f1(labels, np.array([3, 3, 3, 3])) == 0


@pytest.mark.parametrize(("rows", "share"), [(60, 0.5), (500, 0.8), (40, 0.05), (300, 0.99)])
def test_the_interval_is_that_of_resampling_rows(rows: int, share: float) -> None:
    right = np.arange(rows) < round(share * rows)
    random = np.random.default_rng(1)
    means = [right[random.integers(rows, size=rows)].mean() for _ in range(4000)]
    low, high = np.quantile(means, [0.025, 0.975])
    # Ends move by about a row between draws.
    assert bootstrap_interval(right) == pytest.approx((low, high), abs=1.5 / rows + 0.004)
    narrow = bootstrap_interval(right, level=0.5)
    low, high = np.quantile(means, [0.25, 0.75])
    assert narrow == pytest.approx((low, high), abs=1.5 / rows + 0.004)


def test_the_interval_is_the_same_each_time_and_a_point_where_all_rows_agree() -> None:
    right = np.arange(100) < 70
    assert bootstrap_interval(right) == bootstrap_interval(right)
    assert bootstrap_interval(np.ones(10, dtype=bool)) == (1, 1)
    assert bootstrap_interval(np.zeros(10, dtype=bool)) == (0, 0)


def test_scores_hold_the_numbers_and_their_summary_is_plain_values() -> None:
    labels, predictions = drawn(0)
    ids = np.array([f"row/{number}" for number in range(len(labels))])
    scores = score("sq-AL", ids, labels, predictions)
    assert scores.accuracy == accuracy(labels, predictions)
    assert scores.macro_f1 == macro_f1(labels, predictions)
    assert scores.interval == bootstrap_interval(labels == predictions)
    assert scores.interval[0] < scores.accuracy < scores.interval[1]
    summary = scores.summary()
    assert set(summary) == {"locale", "accuracy", "macro_f1", "interval", "rows"}
    assert summary["rows"] == 300
    assert [type(value) for value in (summary["accuracy"], summary["macro_f1"], *summary["interval"])] == [float] * 4
