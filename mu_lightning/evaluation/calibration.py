"""Whether probabilities mean what they say: temperature scaling, and the expected calibration error.

Guo et al., 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mu_lightning.evaluation.metrics import calibration_error
from mu_lightning.utilities.files import write_json

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader

    from mu_lightning.data.encoding import Batch

CALIBRATION = "calibration.json"
_RANGE = (-3.0, 3.0)  # of the temperature's natural logarithm: 0.05 to 20


@dataclass(frozen=True)
class Calibration:
    """A classifier's temperature: its logits are divided by it before they become probabilities.

    Attributes:
        temperature: above 1 where the classifier is overconfident.
        locales: on whose dev rows it was fitted.
        rows: how many they were.
        error_before: the expected calibration error on them at temperature 1, 0 to 1.
        error: the same at the temperature.
    """

    temperature: float
    locales: tuple[str, ...]
    rows: int
    error_before: float
    error: float

    def write(self, folder: Path) -> None:
        """Writes ``calibration.json``."""
        write_json(folder / CALIBRATION, asdict(self))


def stored_temperature(folder: Path) -> float:
    """The temperature that a model folder stores, 1 where it stores none."""
    try:
        found = json.loads((folder / CALIBRATION).read_text(encoding="utf-8"))["temperature"]
    except (OSError, ValueError, KeyError, TypeError):
        return 1.0
    return float(found) if isinstance(found, int | float) and 0 < found < float("inf") else 1.0


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of least negative log-likelihood.

    Few rows can all be right, and then no certainty would be too much: so, as Platt (1999, Probabilistic Outputs for
    Support Vector Machines) has it, a gold label's probability is to be 1 - 1 / (rows + 2), the other labels share the
    rest.

    Args:
        logits: shape (rows, classes).
        labels: gold label indices, shape (rows,).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    rows, classes = logits.shape
    rest = 1 / (rows + 2)

    def loss(log_temperature: float) -> float:
        likelihoods = log_softmax(logits / np.exp(log_temperature), axis=1)
        gold = likelihoods[np.arange(rows), labels]
        others = (likelihoods.sum(axis=1) - gold) / max(1, classes - 1)
        return -float(((1 - rest) * gold + rest * others).mean())

    return float(np.exp(minimize_scalar(loss, bounds=_RANGE, method="bounded").x))


def calibrate(module: "nn.Module", loaders: Mapping[str, "DataLoader[Batch]"]) -> Calibration:
    """Fits a classifier's temperature.

    Args:
        module: maps a batch to logits.
        loaders: locale -> labeled batches that it was not trained on: dev rows of its sources, none of a target.
    """
    from scipy.special import softmax

    from mu_lightning.evaluation.loop import labeled_logits

    logits, labels = labeled_logits(module, loaders)
    temperature = fit_temperature(logits, labels)
    errors = []
    for one in (1.0, temperature):
        probabilities = softmax(logits / one, axis=1)
        errors.append(calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels))
    return Calibration(temperature, tuple(loaders), len(labels), *errors)
