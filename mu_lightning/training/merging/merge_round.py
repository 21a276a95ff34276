"""A merge during training: scores before, merged models, scores after, without modifying the members."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mu_lightning.data.module import IntentDataModule
from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.evaluation.metrics import Scores
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.ensemble import Panel
from mu_lightning.schedules.schedules import ENSEMBLE
from mu_lightning.settings import MergeSettings
from mu_lightning.training.merging.afterwards import OuterState, mean_state, outer_step
from mu_lightning.training.merging.distances import mean_distance, pairwise_distances
from mu_lightning.training.merging.reweighting import reweighted
from mu_lightning.utilities.errors import NonFiniteError

Members = Mapping[str, IntentClassifier]
Weights = Mapping[str, Mapping[str, float]]
State = dict[str, Tensor]


@dataclass(frozen=True)
class Proposal:
    """A proposed merge.

    Attributes:
        models: target -> state dict of the merged model.
        followed: state dict that members are updated with.
        outer: next state of the outer optimizer, or None.
        targets: target -> values for the record, except ``committed``.
        sources: member -> accuracy on its dev split ``before`` and ``after``.
        distances: ``a|b`` -> distance of two members.
    """

    models: dict[str, State]
    followed: State
    outer: OuterState | None
    targets: dict[str, dict[str, Any]]
    sources: dict[str, dict[str, float]]
    distances: dict[str, float]


class MergeRound:
    """Evaluates members on dev splits and proposes merges.

    Args:
        weights: target -> member -> merge weight, summing to 1; the first target is the primary one.
        settings: settings of merges.
        data: the data module.
        base: initial state dict of the members.
        seed: random seed, for stochastic methods.
        precision: creates the precision context for forward passes.
    """

    def __init__(
        self,
        weights: Weights,
        settings: MergeSettings,
        data: IntentDataModule,
        base: Mapping[str, Tensor],
        seed: int,
        precision: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.weights = weights
        self.primary = next(iter(weights))
        self.settings = settings
        self.data = data
        self.base = base
        self.seed = seed
        self.precision = precision

    def scores(self, members: Members, own: Mapping[str, float] | None = None) -> dict[str, Any]:
        """Returns the scores of an epoch: ``members``, ``target``, ``mean`` and ``drift``.

        Args:
            members: name -> member.
            own: known accuracies of members on their own dev splits, by locale.
        """
        target = self._before(self.primary, members)
        return {
            "members": {name: self._own(name, member, own) for name, member in members.items()},
            "target": target,
            "mean": _mean_of_members(target),
            "drift": mean_distance(self._distances(members)),
        }

    def propose(self, members: Members, scores: Mapping[str, Any] | None, outer: OuterState | None) -> Proposal:
        """Merges the members and evaluates the merged models.

        Args:
            members: name -> member; not modified.
            scores: result of `scores` for these members, if available.
            outer: state of the outer optimizer, or None.
        """
        settings = self.settings
        own = scores["members"] if scores else {name: self._own(name, member) for name, member in members.items()}
        before = {
            target: self._before(target, members) for target in self.weights if not scores or target != self.primary
        }
        if scores:
            before[self.primary] = scores["target"]
        sample = next(iter(members.values()))
        weights, models = {}, {}
        failed: dict[str, str] = {}
        for target, fixed in self.weights.items():
            weights[target] = reweighted(settings.reweight, fixed, before[target], own, settings.reweight_temperature)
            try:
                models[target] = merge_tensors(
                    settings.method,
                    {name: members[name].merge_state() for name in fixed},
                    weights[target],
                    base=self.base,
                    parameters=settings.parameters,
                    frozen_rows=sample.frozen_rows(),
                    seed=self.seed,
                )
            except NonFiniteError as error:
                failed[target] = str(error)
        followed: State = {}
        if not (failed if settings.follow == "mean" else self.primary in failed):
            followed = mean_state(list(models.values())) if settings.follow == "mean" else models[self.primary]
        if outer is not None and followed:
            followed, outer = outer_step(outer, followed, settings.outer_learning_rate, settings.outer_momentum)
            if settings.follow == "first" or len(models) == 1:
                models[self.primary] = followed
        targets, sources = {}, {}
        for target in self.weights:
            after, own_after = 0.0, dict.fromkeys(members, 0.0)  # of a model that is not finite, no answer is right
            if target in models:
                merged = sample.with_merged(models[target])
                try:
                    after = self._accuracy(merged, self.scored_on(target))
                    if target == self.primary:
                        own_after = {name: self._own(name, merged) for name in members}
                except NonFiniteError as error:
                    failed[target] = str(error)
            mean = _mean_of_members(before[target])
            targets[target] = {
                "weights": weights[target],
                "scored_on": "target" if self.scored_on(target) == (target,) else "sources",
                "before": dict(before[target]),
                "mean_before": mean,
                "after": after,
                "gain": after - mean,
                **({"not_finite": failed[target]} if target in failed else {}),
            }
            if target == self.primary:
                sources = {name: {"before": own[name], "after": own_after[name]} for name in members}
        distances = {"|".join(pair): distance for pair, distance in self._distances(members).items()}
        return Proposal(models, followed, outer, targets, sources, distances)

    def _before(self, target: str, members: Members) -> dict[str, float]:
        weights = self.weights[target]
        chosen = {name: members[name] for name in weights}
        panel = Panel(chosen, {ENSEMBLE: ("uriel_logits", list(weights.values()))}, with_members=True)
        with self.precision():
            found = evaluate_named(panel, self.data.eval_loaders("dev", self.scored_on(target)))
        return {name: _mean_accuracy(found[name]) for name in (*weights, ENSEMBLE)}

    def scored_on(self, target: str) -> tuple[str, ...]:
        """Returns the locales for evaluating merges of a target: the target if it has dev labels, else its sources.

        Source dev rows are a weak proxy, but need no target labels.
        """
        if self.data.rows(target, "dev").labeled:
            return (target,)
        return tuple(dict.fromkeys(locale for name in self.weights[target] for locale in self.data.members[name]))

    def _own(self, name: str, classifier: IntentClassifier, known: Mapping[str, float] | None = None) -> float:
        """Mean accuracy on the dev splits of the member's train locales."""
        locales = self.data.members[name]
        return sum(
            known[locale] if known and locale in known else self._accuracy(classifier, [locale]) for locale in locales
        ) / len(locales)

    def _accuracy(self, classifier: IntentClassifier, locales: Sequence[str]) -> float:
        with self.precision():
            return _mean_accuracy(evaluate(classifier, self.data.eval_loaders("dev", locales)))

    def _distances(self, members: Members) -> dict[tuple[str, str], float]:
        return pairwise_distances({name: member.merge_state() for name, member in members.items()}, self.base)


def committed_targets(
    targets: Mapping[str, Mapping[str, Any]], settings: MergeSettings
) -> tuple[dict[str, bool], bool]:
    """Decides for each target whether the merge is kept, and whether members are updated.

    A merge is kept if it is finite and its gain is not below ``-tolerance``. Members are updated if the model that they
    follow is kept: that of the first target, or the mean of all by the mean gain.
    """
    finite = {target: "not_finite" not in found for target, found in targets.items()}
    usable = all(finite.values()) if settings.follow == "mean" else next(iter(finite.values()))
    tolerance = settings.tolerance
    if tolerance is None:
        return finite, usable
    gains = {target: found["gain"] for target, found in targets.items()}
    followed = sum(gains.values()) / len(gains) if settings.follow == "mean" else next(iter(gains.values()))
    kept = {target: finite[target] and gain >= -tolerance for target, gain in gains.items()}
    return kept, usable and followed >= -tolerance


def last_weights(history: Sequence[Mapping[str, Any]], target: str) -> dict[str, float]:
    """Merge weights of the last committed merge of a target."""
    found = [record["targets"][target] for record in history if record["targets"][target]["committed"]]
    return dict(found[-1]["weights"])


def _mean_accuracy(found: Mapping[str, Scores]) -> float:
    return sum(scores.accuracy for scores in found.values()) / len(found)


def _mean_of_members(found: Mapping[str, float]) -> float:
    values = [value for name, value in found.items() if name != ENSEMBLE]
    return sum(values) / len(values)
