from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from mu_lightning.evaluation.calibration import calibrate, calibration_error, fit_temperature, stored_temperature
from mu_lightning.evaluation.loop import labeled_logits


def drawn(rows: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the truth, times a scale, and labels drawn from that truth."""
    random = np.random.default_rng(0)
    truth = random.normal(size=(rows, 4)) * 2
    cumulative = softmax(truth, axis=1).cumsum(axis=1)
    labels = (random.random((rows, 1)) > cumulative).sum(axis=1)
    return truth * scale, labels


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_logits_too_large(scale: float) -> None:
    logits, labels = drawn(20_000, scale)
    assert fit_temperature(logits, labels) == pytest.approx(scale, rel=0.05)


def test_few_rows_that_are_all_right_do_not_make_certain() -> None:
    logits = np.eye(3)[[0, 1, 2, 0, 1, 2]] * 2.0
    labels = np.array([0, 1, 2, 0, 1, 2])
    confidence = softmax(logits / fit_temperature(logits, labels), axis=1).max()
    assert confidence == pytest.approx(1 - 1 / 8, abs=1e-3)


def test_the_calibration_error_is_the_mean_gap_over_bins() -> None:
    confidences = np.array([0.95, 0.95, 0.95, 0.95, 0.45, 0.45])
    right = np.array([True, True, True, False, False, True])
    # A bin of 4 rows: 0.95 said, 0.75 right; one of 2 rows: 0.45 said, 0.5 right.
    assert calibration_error(confidences, right) == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)
    assert calibration_error(np.ones(5), np.ones(5, dtype=bool)) == 0
    logits, labels = drawn(20_000, 3.0)
    for temperature, least, most in ((1.0, 0.1, 1.0), (3.0, 0.0, 0.02)):
        probabilities = softmax(logits / temperature, axis=1)
        error = calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
        assert least <= error <= most


def test_a_classifier_is_calibrated_on_dev_rows_and_its_folder_says_so(
    joint: Any, data_module: Any, tmp_path: Path
) -> None:
    member = joint(["nl-NL"]).member("nl-NL")
    loaders = data_module(["nl-NL"]).eval_loaders("dev")
    found = calibrate(member, loaders)
    logits, labels = labeled_logits(member, loaders)
    assert (found.locales, found.rows) == (("nl-NL",), len(labels))
    assert found.temperature == fit_temperature(logits, labels)
    assert found.error < found.error_before
    (batch,) = [next(iter(loaders["nl-NL"]))]
    with torch.inference_mode():
        assert np.allclose(member.eval()(batch).numpy(), logits[: len(batch["labels"])], atol=1e-5)
    assert stored_temperature(tmp_path) == 1.0
    found.write(tmp_path)
    assert stored_temperature(tmp_path) == found.temperature
