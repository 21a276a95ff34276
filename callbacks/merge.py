"""MergeCallback: merges the members while they train."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from mu_lightning.data.module import IntentDataModule
from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.merging.distances import drift, pairwise_distances
from mu_lightning.merging.engine import merge_tensors
from mu_lightning.models.agreement import check_agreement
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.ensemble import Panel
from mu_lightning.models.joint import JointClassifier
from mu_lightning.schedules import Schedule
from mu_lightning.settings import MergeSettings

ENSEMBLE = "ensemble"


class MergeCallback(Callback):
    """At the end of an epoch in which the schedule says so: scores, merges, scores again, and commits or rolls back.

    A committed merge replaces every member by the merged model. It happens in ``on_train_epoch_end``, after the epoch's
    validation and before checkpoints are written, so a checkpoint holds merged weights with the merged model's scores.

    Args:
        target: the locale that is merged for; its dev split is scored around each merge.
        weights: member -> merge weight; they sum to 1.
        schedule: when to merge.
        settings: method, its parameters, what becomes of the optimiser's moments, tolerance.
        seed: the run's seed, for methods that draw random numbers.
        base: the state dict that the members started from, for methods on task vectors and distances; the first
            member's as training starts, if none is given.

    Attributes:
        history: a record of each merge, in order, of plain values only (see docs/iterative.md for its fields).
        merged: the state dict of the last committed merge.
        before_merge: called with the trainer once a merge is decided, before anything is scored or changed.
    """

    def __init__(
        self,
        target: str,
        weights: Mapping[str, float],
        schedule: Schedule,
        settings: MergeSettings,
        seed: int = 0,
        base: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.target = target
        self.weights = dict(weights)
        self.schedule = schedule
        self.settings = settings
        self.seed = seed
        self.base = base
        self.history: list[dict[str, Any]] = []
        self.merged: dict[str, Tensor] | None = None
        self.before_merge: Callable[[Trainer], None] | None = None
        self.at_epoch_end = True
        # A merge that was decided but not made: a checkpoint from before a merge holds it, and it is made on resuming.
        self._pending: str | None = None

    @property
    def supervision(self) -> str:
        """What of the target the decisions looked at: a rollback reads its dev labels."""
        return "none" if self.settings.tolerance is None else "target-dev-labels"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.base is None:  # before a checkpoint is read: the members are still what they start from
            assert isinstance(pl_module, JointClassifier)
            first = pl_module.member(next(iter(self.weights))).merge_state()
            self.base = {name: tensor.detach().cpu().clone() for name, tensor in first.items()}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, JointClassifier)
        epoch = trainer.current_epoch + 1
        reason = self._pending or self.schedule.due(epoch, _is_last(trainer, epoch))
        if reason is not None:
            self._pending = reason
            if self.before_merge is not None:
                self.before_merge(trainer)
            self._pending = None
            record = self._merge(trainer, pl_module, epoch, reason)
            self.history.append(record)
            after = record["targets"][self.target]["after"]
            pl_module.log("merge/accuracy", after, logger=False, rank_zero_only=True)

    def _merge(self, trainer: Trainer, module: JointClassifier, epoch: int, reason: str) -> dict[str, Any]:
        started = time.perf_counter()
        members = {name: module.member(name) for name in self.weights}
        module.rest()
        states = {name: member.merge_state() for name, member in members.items()}
        data: IntentDataModule = trainer.datamodule  # type: ignore[attr-defined]
        loaders = data.eval_loaders("dev", [self.target])
        assert self.base is not None
        distances = pairwise_distances(states, self.base)
        with trainer.precision_plugin.forward_context():
            panel = Panel(members, {ENSEMBLE: ("uriel_logits", list(self.weights.values()))}, with_members=True)
            scores = evaluate_named(panel, loaders)
            before = {name: found[self.target].accuracy for name, found in scores.items()}
            sources = {name: {"before": _own_accuracy(member, data, name)} for name, member in members.items()}
            merged = merge_tensors(
                self.settings.method,
                states,
                self.weights,
                base=self.base,
                parameters=self.settings.parameters,
                seed=self.seed,
            )
            candidate = next(iter(members.values())).with_merged(merged)
            after = evaluate(candidate, loaders)[self.target].accuracy
            for name, found in sources.items():
                found["after"] = _own_accuracy(candidate, data, name)
        mean = sum(before[name] for name in members) / len(members)
        tolerance = self.settings.tolerance
        # One process decides for all: scores are equal on every device, but nothing should rest on that.
        committed = bool(trainer.strategy.broadcast(tolerance is None or after >= mean - tolerance))
        if committed:
            self._replace(members.values(), merged, trainer.optimizers)
            check_agreement(
                {name: member.merge_state() for name, member in members.items()},
                f"after merge {len(self.history) + 1}",
            )
            self.merged = {name: tensor.detach().cpu().clone() for name, tensor in merged.items()}
        return {
            "index": len(self.history) + 1,
            "epoch": epoch,
            "step": trainer.global_step,
            "reason": reason,
            "method": self.settings.method,
            "sync": "replace",
            "moments": self.settings.moments,
            "committed": committed,
            "seconds": time.perf_counter() - started,
            "targets": {
                self.target: {
                    "weights": dict(self.weights),
                    "before": before,
                    "mean_before": mean,
                    "after": after,
                    "gain": after - mean,
                    "committed": committed,
                }
            },
            "sources": sources,
            "distances": {"|".join(pair): distance for pair, distance in distances.items()},
            "drift": drift(distances),
            "schedule": {"name": "every-epochs"},
        }

    @torch.no_grad()
    def _replace(
        self, members: Sequence[IntentClassifier] | Any, merged: Mapping[str, Tensor], optimizers: Sequence[Optimizer]
    ) -> None:
        models = [member.model for member in members]
        for member in members:
            member.take(merged)
        for optimizer in optimizers:
            for parameters in zip(*(model.parameters() for model in models), strict=True):
                self._settle(optimizer, parameters)

    def _settle(self, optimizer: Optimizer, parameters: Sequence[Tensor]) -> None:
        states = [optimizer.state[parameter] for parameter in parameters if optimizer.state.get(parameter)]
        if len(states) < len(parameters) or self.settings.moments == "keep":
            return
        for moment in ("exp_avg", "exp_avg_sq"):
            if self.settings.moments == "reset":
                mean = torch.zeros_like(states[0][moment])
            else:
                factors = self.weights.values()
                mean = sum(state[moment] * factor for state, factor in zip(states, factors, strict=True))
            for state in states:
                state[moment].copy_(mean)
        if self.settings.moments == "reset":
            for state in states:
                state["step"].zero_()

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "merged": self.merged, "pending": self._pending}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])
        self.merged = state_dict["merged"]
        self._pending = state_dict["pending"]


def _own_accuracy(classifier: IntentClassifier, data: IntentDataModule, member: str) -> float:
    """Mean accuracy on the dev splits of the locales that the member learns from."""
    scores = evaluate(classifier, data.eval_loaders("dev", data.members[member]))
    return sum(found.accuracy for found in scores.values()) / len(scores)


def _is_last(trainer: Trainer, epoch: int) -> bool:
    # Asking `trainer.fit_loop.done` would count the epoch as completed, and checkpoints would be off by one.
    stopped = (
        trainer.should_stop and epoch >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    )
    return stopped or epoch == trainer.max_epochs or 0 < trainer.max_steps <= trainer.global_step
