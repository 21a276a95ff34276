"""What a method for a target has to beat, from the accuracies of single source models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mu_lightning.evaluation.statistics.resampling import Correctness

# Those that the N-by-N gives; joint multilingual, uniform average and shuffled typology are runs of their own.
NATIVE = "native"
BEST_SOURCE = "best source of those used"
BEST_ZERO_SHOT = "best zero-shot of all"
MEAN_ZERO_SHOT = "mean zero-shot"


@dataclass(frozen=True)
class Baseline:
    """A baseline on one target.

    Attributes:
        name: one of this module's constants.
        accuracy: 0 to 1.
        source: the locale of the model that it is; empty for a mean over models.
        marks: which rows it got right, where known; fractions for a mean.
    """

    name: str
    accuracy: float
    source: str = ""
    marks: Correctness | None = None


def native(
    target: str, accuracies: Mapping[str, float], marks: Mapping[str, Correctness] | None = None
) -> Baseline | None:
    """The model trained on the target's own labels; None where there is none.

    Args:
        target: the locale that is scored.
        accuracies: source -> accuracy on the target.
        marks: source -> which of the target's rows its model got right.
    """
    if target not in accuracies:
        return None
    return Baseline(NATIVE, accuracies[target], target, (marks or {}).get(target))


def best_source(
    target: str, sources: Iterable[str], accuracies: Mapping[str, float], marks: Mapping[str, Correctness] | None = None
) -> Baseline | None:
    """The best single model of the sources that a method used; None unless all of them were scored.

    It is chosen by the very rows that it is scored on, so it is an upper bound of what choosing one source can give.
    """
    used = [name for name in sources if name != target]
    if not used or any(name not in accuracies for name in used):
        return None
    return _best(BEST_SOURCE, used, accuracies, marks)


def best_zero_shot(
    target: str, accuracies: Mapping[str, float], marks: Mapping[str, Correctness] | None = None
) -> Baseline | None:
    """The best single model of all locales but the target, None without one: an upper bound, as `best_source`."""
    others = [name for name in accuracies if name != target]
    return _best(BEST_ZERO_SHOT, others, accuracies, marks) if others else None


def mean_zero_shot(
    target: str, accuracies: Mapping[str, float], marks: Mapping[str, Correctness] | None = None
) -> Baseline | None:
    """The mean over the models of all locales but the target: what a blind choice of one source gives."""
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
