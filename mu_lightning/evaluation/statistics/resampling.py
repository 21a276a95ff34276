"""Bootstrap intervals of accuracies and their differences, over utterances and seeds.

Test sets of several locales are often translations: their rows share ids, and difficulty is correlated across
languages. Utterances are therefore resampled jointly for all targets and classifiers (cluster bootstrap; Field and
Welsh 2007, https://doi.org/10.1111/j.1467-9868.2007.00593.x). Independent resampling would underestimate the
uncertainty of means over many targets. Several seeds are resampled, too, above the utterances (hierarchical bootstrap;
Davison and Hinkley 1997, section 3.8).
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

DRAWS = 2000
LEVEL = 0.95
_CHUNK = 250  # resamples per chunk: 250 x 3,000 utterances take 3 MB


@dataclass(frozen=True, eq=False)
class Correctness:
    """Correctness per row of a split.

    Attributes:
        ids: row ids, (rows,); equal ids in several locales are one utterance.
        right: 1 for correct and 0 for wrong predictions, (rows,); fractions for means over classifiers.
    """

    ids: np.ndarray
    right: np.ndarray

    @cached_property
    def accuracy(self) -> float:
        """Mean of `right`, 0 to 1."""
        return float(np.mean(self.right))


@dataclass(frozen=True)
class Difference:
    """A mean difference of accuracies with its bootstrap interval.

    Attributes:
        value: mean difference, -1 to 1.
        low: lower end of the 95 % percentile interval.
        high: upper end of the interval.
        p_value: two-sided p-value: twice the share of resamples on the other side of 0.
    """

    value: float
    low: float
    high: float
    p_value: float

    @property
    def certain(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


class Bootstrap:
    """Joint bootstrap of accuracies over utterances and seeds.

    All classifiers share the resamples, so differences are paired.

    Args:
        scored: key -> seed -> correctness. A key identifies a classifier on a target, such as ``(method, target)``; its
            accuracy is the mean over seeds. Keys with equal seeds share resampled seeds.
        draws: number of resamples.
        seed: random seed.

    Attributes:
        accuracies: key -> accuracy, the mean over seeds.
    """

    def __init__(self, scored: Mapping[Hashable, Mapping[int, Correctness]], draws: int = DRAWS, seed: int = 0) -> None:
        self.accuracies = {
            key: float(np.mean([marks.accuracy for marks in seeds.values()])) for key, seeds in scored.items()
        }
        self._column = {key: place for place, key in enumerate(scored)}
        self._draws = _draw(list(scored.values()), draws, seed)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._column

    def resamples(self, key: Hashable) -> np.ndarray:
        """Accuracies of a key in all resamples, (draws,)."""
        return self._draws[:, self._column[key]]

    def interval(self, keys: Iterable[Hashable], level: float = LEVEL) -> tuple[float, float]:
        """Percentile interval of the mean accuracy over keys, such as one method on several targets."""
        return _interval(self._draws[:, self._columns(keys)].mean(axis=1), level)

    def difference(self, pairs: Sequence[tuple[Hashable, Hashable]], level: float = LEVEL) -> Difference:
        """Mean difference of accuracies over pairs (a, b).

        Two methods on one target are one pair, two methods on many targets one pair per target.
        """
        resampled = (
            self._draws[:, self._columns(a for a, _ in pairs)] - self._draws[:, self._columns(b for _, b in pairs)]
        )
        means = resampled.mean(axis=1)
        value = float(np.mean([self.accuracies[a] - self.accuracies[b] for a, b in pairs]))
        return Difference(value, *_interval(means, level), _two_sided(means))

    def _columns(self, keys: Iterable[Hashable]) -> list[int]:
        return [self._column[key] for key in keys]


def paired_bootstrap(first: Correctness, second: Correctness, draws: int = DRAWS, seed: int = 0) -> Difference:
    """Paired bootstrap of two classifiers on one target, over utterances.

    Efron and Tibshirani 1993, chapter 13; for NLP Koehn 2004 (https://aclanthology.org/W04-3250) and Berg-Kirkpatrick
    et al. 2012 (https://aclanthology.org/D12-1091).

    Raises:
        ValueError: the classifiers were not scored on the same rows.
    """
    if not np.array_equal(first.ids, second.ids):
        raise ValueError("the two classifiers were scored on different rows, so their difference is not paired")
    return Bootstrap({"first": {0: first}, "second": {0: second}}, draws, seed).difference([("first", "second")])


def _draw(scored: Sequence[Mapping[int, Correctness]], draws: int, seed: int) -> np.ndarray:
    """Accuracies of all entries in all resamples, (draws, entries)."""
    generator = np.random.default_rng(seed)
    flat = [marks for seeds in scored for marks in seeds.values()]
    places, utterances = _positions(flat)
    means = np.empty((draws, len(flat)), dtype=np.float64)
    right = np.zeros((utterances, len(flat)), dtype=np.float32)
    present = np.zeros_like(right)
    for column, (marks, where) in enumerate(zip(flat, places, strict=True)):
        right[where, column] = marks.right
        present[where, column] = 1.0
    everywhere = bool(present.all())
    for start in range(0, draws, _CHUNK):
        size = min(_CHUNK, draws - start)
        counts = generator.multinomial(utterances, np.full(utterances, 1 / utterances), size=size).astype(np.float32)
        hits = counts @ right
        rows = np.float32(utterances) if everywhere else counts @ present
        # A resample may have no rows of a small split: use the observed accuracy.
        own = np.array([marks.accuracy for marks in flat])
        means[start : start + size] = np.where(rows > 0, hits / np.maximum(rows, 1), own)
    return _over_seeds(scored, means, generator)


def _over_seeds(
    scored: Sequence[Mapping[int, Correctness]], means: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    shares: dict[tuple[int, ...], np.ndarray] = {}
    result = np.empty((len(means), len(scored)))
    start = 0
    for entry, seeds in enumerate(scored):
        names = tuple(sorted(seeds))
        if names not in shares:
            count = len(names)
            shares[names] = generator.multinomial(count, np.full(count, 1 / count), size=len(means)) / count
        order = [start + list(seeds).index(name) for name in names]
        result[:, entry] = (means[:, order] * shares[names]).sum(axis=1)
        start += len(seeds)
    return result


def _positions(flat: Sequence[Correctness]) -> tuple[list[np.ndarray], int]:
    """Positions of each entry's rows among all distinct utterances, and the number of utterances."""
    by_content: dict[bytes, np.ndarray] = {}
    for marks in flat:
        by_content.setdefault(marks.ids.tobytes(), marks.ids)
    universe = np.unique(np.concatenate(list(by_content.values())))
    found = {content: np.searchsorted(universe, ids) for content, ids in by_content.items()}
    return [found[marks.ids.tobytes()] for marks in flat], len(universe)


def _interval(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _two_sided(values: np.ndarray) -> float:
    # Add one to each count, so that p-values are never 0 (Phipson and Smyth 2010).
    slack = 1e-9  # tolerance for rounding errors
    tail = min(int((values <= slack).sum()), int((values >= -slack).sum()))
    return min(1.0, 2 * (tail + 1) / (len(values) + 1))
