"""What a method has to beat."""

import numpy as np
import pytest

from mu_lightning.evaluation.statistics.baselines import best_source, best_zero_shot, mean_zero_shot, native
from mu_lightning.evaluation.statistics.resampling import Correctness

IDS = np.array(["1", "2", "3", "4"])
MARKS = {
    "t": Correctness(IDS, np.array([1, 1, 1, 1])),
    "a": Correctness(IDS, np.array([1, 1, 0, 0])),
    "b": Correctness(IDS, np.array([1, 0, 0, 0])),
    "c": Correctness(IDS, np.array([0, 1, 1, 1])),
}
ACCURACIES = {name: marks.accuracy for name, marks in MARKS.items()}


def test_native_is_the_targets_own_model() -> None:
    found = native("t", ACCURACIES, MARKS)
    assert found is not None
    assert (found.accuracy, found.source, found.marks) == (1.0, "t", MARKS["t"])
    assert native("other", ACCURACIES) is None


def test_the_best_source_is_one_of_those_used_and_never_the_target() -> None:
    found = best_source("t", ["a", "b", "t"], ACCURACIES, MARKS)
    assert found is not None
    assert (found.accuracy, found.source, found.marks) == (0.5, "a", MARKS["a"])
    assert best_source("t", ["a", "unscored"], ACCURACIES) is None
    assert best_source("t", [], ACCURACIES) is None


def test_the_best_zero_shot_is_the_best_of_all_but_the_target() -> None:
    found = best_zero_shot("t", ACCURACIES, MARKS)
    assert found is not None
    assert (found.accuracy, found.source) == (0.75, "c")
    assert best_zero_shot("t", {"t": 1.0}) is None


def test_the_mean_zero_shot_averages_models_and_their_marks() -> None:
    found = mean_zero_shot("t", ACCURACIES, MARKS)
    assert found is not None
    assert found.accuracy == pytest.approx(0.5)
    assert found.marks is not None
    assert found.marks.right.tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1 / 3])
    assert mean_zero_shot("t", {"t": 1.0}) is None


def test_without_predictions_of_every_model_there_is_a_mean_and_no_marks() -> None:
    found = mean_zero_shot("t", ACCURACIES, {"a": MARKS["a"]})
    assert found is not None
    assert (found.accuracy, found.marks) == (pytest.approx(0.5), None)
