"""Compares methods with baselines and with each other, and answers the main questions."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from mu_lightning.evaluation.statistics import baselines
from mu_lightning.evaluation.statistics.paired import McNemar, mcnemar
from mu_lightning.evaluation.statistics.ranks import TIE, Ranking, SignedRanks, holm, rank_methods, signed_ranks
from mu_lightning.evaluation.statistics.resampling import Bootstrap, Correctness, Difference
from mu_lightning.reporting.evidence import EQUAL_AVERAGE, JOINT, Evidence, Method

OWN_EQUAL = "same method, equal weights"
OWN_SHUFFLED = "same method, shuffled weights"
BASELINES = (
    baselines.NATIVE,
    baselines.BEST_SOURCE,
    baselines.BEST_ZERO_SHOT,
    baselines.MEAN_ZERO_SHOT,
    JOINT,
    EQUAL_AVERAGE,
    OWN_EQUAL,
    OWN_SHUFFLED,
)
Found = TypeVar("Found", "Comparison", "OneTarget", "Answer")
Key = tuple[Hashable, str]  # classifier and target
LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Comparison of a method with a baseline over common targets.

    Attributes:
        method: label of the method.
        baseline: name of the baseline.
        targets: the targets.
        differences: accuracy of the method minus accuracy of the baseline, for each target.
        bootstrap: mean difference with interval over utterances and seeds; None without predictions.
        ranks: signed-rank test over targets.
        adjusted: its p-value after Holm correction over all methods; NaN for a single target.
    """

    method: str
    baseline: str
    targets: tuple[str, ...]
    differences: tuple[float, ...]
    bootstrap: Difference | None
    ranks: SignedRanks
    adjusted: float = float("nan")

    @property
    def significant(self) -> bool:
        """Significance over targets, or over utterances for a single target."""
        if len(self.targets) > 1:
            return self.adjusted < LEVEL
        return self.bootstrap is not None and self.bootstrap.certain


@dataclass(frozen=True)
class OneTarget:
    """Comparison of a method with a baseline on one target.

    Attributes:
        method: label of the method.
        baseline: name of the baseline.
        target: the target.
        difference: accuracy of the method minus accuracy of the baseline.
        bootstrap: difference with interval over utterances and seeds; None without predictions.
        mcnemar: McNemar's test, for a single seed and a single baseline classifier.
        p_value: p-value of McNemar's test if available, else of the bootstrap.
        adjusted: p-value after Holm correction over all methods on this target.
    """

    method: str
    baseline: str
    target: str
    difference: float
    bootstrap: Difference | None
    mcnemar: McNemar | None
    p_value: float
    adjusted: float = float("nan")


@dataclass(frozen=True)
class Answer:
    """A question about families of methods, with its answer.

    Attributes:
        question: the question.
        first: first family, such as ``URIEL weights``.
        second: second family.
        methods: number of pairs of methods.
        targets: number of targets.
        bootstrap: mean difference over pairs and targets.
        ranks: signed-rank test over targets, on means over pairs.
        adjusted: its p-value after Holm correction over questions.
    """

    question: str
    first: str
    second: str
    methods: int
    targets: int
    bootstrap: Difference | None
    ranks: SignedRanks
    adjusted: float = float("nan")

    @property
    def verdict(self) -> str:
        """Conclusion in words."""
        better = self.ranks.mean > 0
        over_utterances = self.bootstrap is not None and self.bootstrap.certain
        over_targets = self.adjusted < LEVEL
        if over_utterances and over_targets:
            return "yes" if better else "no: it is worse"
        if over_utterances:
            return f"{'better' if better else 'worse'} on these targets; inconclusive for other languages"
        if over_targets:
            return f"{'better' if better else 'worse'} over targets, but within the uncertainty over utterances"
        return "inconclusive"


class Comparisons:
    """All comparisons of a set of results.

    Args:
        evidence: the results.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        scored: dict[Hashable, Mapping[int, Correctness]] = {}
        for (label, target), seeds in evidence.entries.items():
            marks = {seed: entry.marks for seed, entry in seeds.items() if entry.marks is not None}
            if len(marks) == len(seeds):
                scored[label, target] = marks
        for target, known in evidence.source_marks.items():
            if target in evidence.targets:
                scored.update({(_source(name), target): {0: marks} for name, marks in known.items()})
        self._marks = scored
        self.bootstrap = Bootstrap(scored) if scored else None
        self._labels = {
            (method.family, method.preweight): method.label
            for method in evidence.methods.values()
            if method.kind != "baseline"
        }

    @cached_property
    def baselines(self) -> list[str]:
        """Baselines that are available for at least one method."""
        return [name for name in BASELINES if any(one.baseline == name for one in self.all)]

    @cached_property
    def reference(self) -> str | None:
        """Reference baseline of tables and figures: the first available one that is not an upper bound."""
        for name in (baselines.BEST_SOURCE, EQUAL_AVERAGE, baselines.BEST_ZERO_SHOT, baselines.MEAN_ZERO_SHOT):
            if name in self.baselines:
                return name
        return self.baselines[0] if self.baselines else None

    def interval(self, label: str, targets: Sequence[str]) -> tuple[float, float] | None:
        """Interval of a method's mean accuracy over targets; None without predictions."""
        keys: list[Key] = [(label, target) for target in targets]
        if self.bootstrap is None or not all(key in self.bootstrap for key in keys):
            return None
        return self.bootstrap.interval(keys)

    def opponent(self, method: Method, target: str, baseline: str) -> Key | None:
        """Returns the classifier of a baseline for a method on a target; None without one."""
        entries = self.evidence.entries
        label: str | None = baseline
        if baseline == baselines.BEST_SOURCE:
            seeds = entries.get((method.label, target), {})
            used = next((entry.sources for entry in seeds.values() if entry.sources), ())
            best = baselines.best_source(target, used, self.evidence.accuracies.get(target, {}))
            if method.kind != "baseline" and best is not None:
                return _source(best.source), target
        elif baseline == EQUAL_AVERAGE:
            label = self._equal_average(method)
        elif baseline == OWN_EQUAL:
            label = self._sibling(method, "equal")
        elif baseline == OWN_SHUFFLED:
            label = self._sibling(method, "shuffled")
        if label is None or label == method.label or (label, target) not in entries:
            return None
        return label, target

    @cached_property
    def all(self) -> list[Comparison]:
        """All comparisons of methods with baselines."""
        found = []
        for method in self.evidence.methods.values():
            for baseline in BASELINES:
                pairs = self._pairs(method, baseline)
                if pairs:
                    found.append(self._compare(method.label, baseline, pairs))
        return _corrected(
            found,
            lambda one: one.baseline,
            lambda one: one.ranks.p_value if len(one.targets) > 1 else float("nan"),
        )

    def against(self, baseline: str) -> dict[str, Comparison]:
        """Comparisons with a baseline by method."""
        return {one.method: one for one in self.all if one.baseline == baseline}

    @cached_property
    def one_target(self) -> list[OneTarget]:
        """All comparisons on single targets."""
        found = []
        for method in self.evidence.methods.values():
            for baseline in BASELINES:
                for own, other in self._pairs(method, baseline):
                    found.append(self._on_target(method.label, baseline, own, other))
        return _corrected(found, lambda one: (one.baseline, one.target), lambda one: one.p_value)

    @cached_property
    def on_target(self) -> dict[tuple[str, str, str], OneTarget]:
        """Comparisons by (method, target, baseline)."""
        return {(one.method, one.target, one.baseline): one for one in self.one_target}

    def win_rates(self, methods: Sequence[str]) -> np.ndarray:
        """Win rates of row over column methods on common targets, with ties as half; NaN without any."""
        accuracies = np.array([[self.evidence.accuracy(name, t) for t in self.evidence.targets] for name in methods])
        rates = np.full((len(methods), len(methods)), np.nan)
        for row, column in np.ndindex(rates.shape):
            differences = accuracies[row] - accuracies[column]
            shared = differences[~np.isnan(differences)]
            if row != column and shared.size:
                rates[row, column] = np.mean(np.where(np.abs(shared) < TIE, 0.5, shared > 0))
        return rates

    @cached_property
    def ranking(self) -> Ranking | None:
        """Friedman and Nemenyi tests of methods on nearly all targets; None for too few methods."""
        evidence = self.evidence
        methods = [
            label
            for label, method in evidence.methods.items()
            if method.competes and len(evidence.targets_of(label)) >= 0.8 * len(evidence.targets)
        ]
        targets = [target for target in evidence.targets if all((name, target) in evidence.entries for name in methods)]
        if len(methods) < 3 or len(targets) < 2:
            return None
        table = np.array([[evidence.accuracy(name, target) for name in methods] for target in targets])
        return rank_methods(methods, table)

    @cached_property
    def answers(self) -> list[Answer]:
        """Answers to the questions that these results cover."""
        methods = list(self.evidence.methods.values())
        zero_shot = [method for method in methods if method.zero_shot]
        merges = [method for method in zero_shot if method.kind == "one_shot"]
        votes = [method for method in zero_shot if method.kind == "ensemble"]
        iterative = [method for method in zero_shot if method.kind == "iterative"]
        uriel = [method for method in zero_shot if method.preweight == "uriel"]
        questions = [
            ("Does typology beat equal weights?", "URIEL weights", "equal weights",
             [self._pairs(method, OWN_EQUAL) for method in uriel]),
            ("Does typology beat shuffled typology?", "URIEL weights", "the same weights shuffled",
             [self._pairs(method, OWN_SHUFFLED) for method in uriel]),
            ("Does merging beat the best source?", "merging", "the best single source (picked using test labels)",
             [self._pairs(method, baselines.BEST_SOURCE) for method in merges if method.preweight != "shuffled"]),
            ("Does the ensemble beat the merge?", "voting", "merging with the same weights",
             [self._between(vote, merge) for vote in votes for merge in merges if _alike(vote, merge)]),
            ("Does the ensemble beat the best source?", "voting", "the best single source (picked using test labels)",
             [self._pairs(method, baselines.BEST_SOURCE) for method in votes if method.preweight != "shuffled"]),
            ("Does merging while training beat merging once?", "merging while training", "merging once",
             [self._once(one, merges) for one in iterative]),
            ("Does merging while training beat joint training?", "merging while training", "joint training",
             [self._pairs(one, JOINT) for one in iterative]),
            ("Does merging while training beat the best source?", "merging while training",
             "the best single source (picked using test labels)",
             [self._pairs(one, baselines.BEST_SOURCE) for one in iterative]),
        ]  # fmt: skip
        found = [self._answer(*question) for question in questions]
        answered = [one for one in found if one is not None]
        return _corrected(answered, lambda one: "", lambda one: one.ranks.p_value if one.targets > 1 else float("nan"))

    def _answer(self, question: str, first: str, second: str, families: list[list[tuple[Key, Key]]]) -> Answer | None:
        pairs = [pair for family in families for pair in family]
        if not pairs:
            return None
        by_target: dict[str, list[float]] = {}
        for own, other in pairs:
            by_target.setdefault(own[1], []).append(self._accuracy(own) - self._accuracy(other))
        ranks = signed_ranks([float(np.mean(values)) for values in by_target.values()])
        count = sum(bool(family) for family in families)
        return Answer(question, first, second, count, len(by_target), self._difference(pairs), ranks)

    def _equal_average(self, method: Method) -> str | None:
        every = self._equal_averages
        # Same number of sources if possible; methods for two sources have one counterpart only.
        same = [one for one in every if method.num_languages in (one.num_languages, None)] if len(every) > 1 else every
        return same[0].label if len(same) == 1 else None

    @cached_property
    def _equal_averages(self) -> list[Method]:
        methods = self.evidence.methods.values()
        return [one for one in methods if (one.kind, one.method, one.preweight) == ("one_shot", "linear", "equal")]

    def _sibling(self, method: Method, preweight: str) -> str | None:
        return self._labels.get((method.family, preweight)) if method.preweight == "uriel" else None

    def _pairs(self, method: Method, baseline: str) -> list[tuple[Key, Key]]:
        found: list[tuple[Key, Key]] = []
        if method.label == baseline:
            return found
        for target in self.evidence.targets_of(method.label):
            other = self.opponent(method, target, baseline)
            if other is not None:
                found.append(((method.label, target), other))
        return found

    def _between(self, one: Method, other: Method) -> list[tuple[Key, Key]]:
        shared = [t for t in self.evidence.targets_of(one.label) if (other.label, t) in self.evidence.entries]
        return [((one.label, target), (other.label, target)) for target in shared]

    def _once(self, iterative: Method, merges: Sequence[Method]) -> list[tuple[Key, Key]]:
        """An iterative method beside the same merges made once, of models trained as its own where there are such."""
        alike = [one for one in merges if one.method == iterative.method and _alike(one, iterative)]
        same = [one for one in alike if one.training == iterative.training]
        return [pair for one in same or alike for pair in self._between(iterative, one)]

    def _accuracy(self, key: Key) -> float:
        name, target = key
        if isinstance(name, tuple):
            return self.evidence.accuracies[target][name[1]]
        return self.evidence.accuracy(str(name), target)

    def _difference(self, pairs: Sequence[tuple[Key, Key]]) -> Difference | None:
        if self.bootstrap is None or not all(key in self.bootstrap for pair in pairs for key in pair):
            return None
        return self.bootstrap.difference(pairs)

    def _compare(self, label: str, baseline: str, pairs: Sequence[tuple[Key, Key]]) -> Comparison:
        differences = tuple(self._accuracy(own) - self._accuracy(other) for own, other in pairs)
        targets = tuple(own[1] for own, _ in pairs)
        return Comparison(label, baseline, targets, differences, self._difference(pairs), signed_ranks(differences))

    def _on_target(self, label: str, baseline: str, own: Key, other: Key) -> OneTarget:
        difference = self._difference([(own, other)])
        test = None
        first, second = self._marks.get(own), self._marks.get(other)
        if first is not None and second is not None and len(first) == len(second) == 1:
            (one,), (another,) = first.values(), second.values()
            if _whole(one) and _whole(another):
                test = mcnemar(one.right, another.right)
        p_value = test.p_value if test else difference.p_value if difference else float("nan")
        return OneTarget(
            label, baseline, own[1], self._accuracy(own) - self._accuracy(other), difference, test, p_value
        )


def _source(name: str) -> tuple[str, str]:
    return ("source", name)


def _whole(marks: Correctness) -> bool:
    return marks.right.dtype == bool or bool(np.isin(marks.right, (0, 1)).all())


def _alike(one: Method, other: Method) -> bool:
    return (one.preweight, one.num_languages) == (other.preweight, other.num_languages)


def _corrected(
    found: Iterable[Found], group: Callable[[Found], Hashable], p_value: Callable[[Found], float]
) -> list[Found]:
    """Corrects p-values within each group, in the same order."""
    results = list(found)
    places: dict[Hashable, list[int]] = {}
    for place, one in enumerate(results):
        places.setdefault(group(one), []).append(place)
    for group_places in places.values():
        adjusted = holm([p_value(results[place]) for place in group_places])
        for place, value in zip(group_places, adjusted, strict=True):
            results[place] = replace(results[place], adjusted=value)
    return results
