"""MergeCallback: merges the members while they train."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from mu_lightning.evaluation.loop import evaluate, evaluate_named
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
        base: the state dict that the members started from, for methods on task vectors.

    Attributes:
        history: a record of each merge, in order: plain values only.
        merged: the state dict of the last committed merge.
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

    @property
    def supervision(self) -> str:
        """What of the target the decisions looked at: a rollback reads its dev labels."""
        return "none" if self.settings.tolerance is None else "target-dev-labels"

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, JointClassifier)
        epoch = trainer.current_epoch + 1
        reason = self.schedule.due(epoch, _is_last(trainer, epoch))
        if reason is not None:
            record = self._merge(trainer, pl_module, epoch, reason)
            self.history.append(record)
            pl_module.log("merge/accuracy", record["after"], logger=False, rank_zero_only=True)

    def _merge(self, trainer: Trainer, module: JointClassifier, epoch: int, reason: str) -> dict[str, Any]:
        started = time.perf_counter()
        members = {name: module.member(name) for name in self.weights}
        loaders = trainer.datamodule.eval_loaders("dev", [self.target])  # type: ignore[attr-defined]
        with trainer.precision_plugin.forward_context():
            panel = Panel(members, {ENSEMBLE: ("uriel_logits", list(self.weights.values()))}, with_members=True)
            scores = evaluate_named(panel, loaders)
            before = {name: found[self.target].accuracy for name, found in scores.items()}
            merged = merge_tensors(
                self.settings.method,
                {name: member.merge_state() for name, member in members.items()},
                self.weights,
                base=self.base,
                parameters=self.settings.parameters,
                seed=self.seed,
            )
            candidate = next(iter(members.values())).with_merged(merged)
            after = evaluate(candidate, loaders)[self.target].accuracy
        mean = sum(before[name] for name in members) / len(members)
        tolerance = self.settings.tolerance
        # One process decides for all: scores are equal on every device, but nothing should rest on that.
        committed = trainer.strategy.broadcast(tolerance is None or after >= mean - tolerance)
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
            "committed": bool(committed),
            "weights": dict(self.weights),
            "before": before,
            "mean_before": mean,
            "after": after,
            "gain": after - mean,
            "seconds": time.perf_counter() - started,
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
        return {"history": self.history, "merged": self.merged}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])
        self.merged = state_dict["merged"]


def _is_last(trainer: Trainer, epoch: int) -> bool:
    # Asking `trainer.fit_loop.done` would count the epoch as completed, and checkpoints would be off by one.
    stopped = (
        trainer.should_stop and epoch >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    )
    return stopped or epoch == trainer.max_epochs or 0 < trainer.max_steps <= trainer.global_step
