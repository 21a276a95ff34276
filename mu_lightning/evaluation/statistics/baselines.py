"""Baselines for a target, from the accuracies of single source models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mu_lightning.evaluation.statistics.resampling import Correctness

# Baselines from the N-by-N matrix; joint training, uniform average and shuffled weights are separate runs.
NATIVE = "trained on target labels (ceiling)"
BEST_SOURCE = "best of the sources used"
BEST_ZERO_SHOT = "best of all sources"
MEAN_ZERO_SHOT = "mean of all sources"


@dataclass(frozen=True)
class Baseline:
    """A baseline on one target.

    Attributes:
        name: one of the constants of this module.
        accuracy: accuracy, 0 to 1.
        source: locale of the model; empty for a mean over models.
        marks: correctness per row, if known; fractions for a mean.
    """

    name: str
    accuracy: float
    source: str = ""
    marks: Correctness | None = None


def native(
    target: str, accuracies: Mapping[str, float], marks: Mapping[str, Correctness] | None = None
) -> Baseline | None:
    """The model trained on target labels (a ceiling); None without one.

    Args:
        target: the target locale.
        accuracies: source -> accuracy on the target.
        marks: source -> correctness per row of the target.
    """
    if target not in accuracies:
        return None
    return Baseline(NATIVE, accuracies[target], target, (marks or {}).get(target))


def best_source(
    target: str, sources: Iterable[str], accuracies: Mapping[str, float], marks: Mapping[str, Correctness] | None = None
) -> Baseline | None:
    """The best single model among the sources of a method; None unless all sources were scored.

    It is selected on the test rows: an upper bound for selecting a single source.
    """
    used = [name for name in sources if name != target]
    if not used or any(name not in accuracies for name in used):
        return None
    return _best(BEST_SOURCE, used, accuracies, marks)


def best_zero_shot(
    target: str, accuracies: Mapping[str, float], marks: Mapping[str, Correctness] | None = None
) -> Baseline | None:
    """The best single model among all locales except the target; an upper bound, see `best_source`."""
    others = [name for name in accuracies if name != target]
    return _best(BEST_ZERO_SHOT, others, accuracies, marks) if others else None


def mean_zero_shot(
    target: str, accuracies: Mapping[str, float], marks: Mapping[str, Correctness] | None = None
) -> Baseline | None:
    """The mean over the models of all locales except the target: the expected accuracy of a random source."""
    others = [name for name in accuracies if name != target]
    if not others:
        return None
    known = [(marks or {}).get(name) for name in others]
    together = None
    if all(one is not None and np.array_equal(one.ids, known[0].ids) for one in known if known[0] is not None):
        found = [one for one in known if one is not None]
        if len(found) == len(others):
            together = Correctness(found[0].ids, np.mean([one.right for one in found], axis=0))
    return Baseline(MEAN_ZERO_SHOT, float(np.mean([accuracies[name] for name in others])), "", together)


def _best(
    name: str, among: list[str], accuracies: Mapping[str, float], marks: Mapping[str, Correctness] | None
) -> Baseline:
    best = max(among, key=lambda one: accuracies[one])
    return Baseline(name, accuracies[best], best, (marks or {}).get(best))
