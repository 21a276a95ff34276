"""MergeCallback: merges the members while they train."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.joint import JointClassifier
from mu_lightning.schedules.schedules import Moment, Past, Schedule
from mu_lightning.settings import MergeSettings
from mu_lightning.training.agreement import check_agreement
from mu_lightning.training.merging.afterwards import OuterState, mean_weights, pulled, settle_moments
from mu_lightning.training.merging.distances import mean_distance
from mu_lightning.training.merging.merge_round import MergeRound, Proposal, committed_targets
from mu_lightning.training.merging.reweighting import READS_TARGET
from mu_lightning.utilities.process_memory import release_memory


class MergeCallback(Callback):
    """Merges members by a schedule, evaluates before and after each merge, and commits or rolls back.

    It acts in ``on_train_epoch_end``, after validation and before checkpoints are saved, so that checkpoints have
    merged weights and the scores of the merged model. With a schedule by steps it also acts between an optimizer step
    and the next batch. Scores are computed in all processes; rank 0 decides.

    Args:
        target: primary target; its dev split is evaluated around each merge.
        weights: merge weight of each member, summing to 1.
        schedule: merge schedule.
        settings: settings of merges.
        seed: random seed, for stochastic methods.
        base: initial state dict of the members, for task vectors and distances; default: that of the first member at
            the start of training.
        others: merge weights for further targets: target -> member -> weight.

    Attributes:
        history: records of the merges, as plain values (see docs/iterative.md).
        epochs: scores at the end of each epoch, as plain values.
        models: target -> state dict of the last committed merge.
        before_merge: called with the trainer before a merge is evaluated.
        at_epoch_end: whether the current merge is at the end of an epoch.
    """

    def __init__(
        self,
        target: str,
        weights: Mapping[str, float],
        schedule: Schedule,
        settings: MergeSettings,
        seed: int = 0,
        base: Mapping[str, Tensor] | None = None,
        others: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.target = target
        self.weights = dict(weights)
        self.targets = {target: self.weights} | {name: dict(found) for name, found in (others or {}).items()}
        self.schedule = schedule
        self.settings = settings
        self.seed = seed
        self.base = base
        self.history: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []
        self.models: dict[str, dict[str, Tensor]] = {}
        self.outer: OuterState | None = None
        self.before_merge: Callable[[Trainer], None] | None = None
        self.at_epoch_end = True
        # A pending merge: saved in checkpoints before merges, and performed when resuming.
        self._pending: str | None = None
        self._validated: tuple[int, int, dict[str, float]] | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """Returns the members with weights for any target."""
        return tuple(dict.fromkeys(name for weights in self.targets.values() for name in weights))

    @property
    def merged(self) -> dict[str, Tensor] | None:
        """Returns the state dict of the last committed merge of the primary target."""
        return self.models.get(self.target)

    @property
    def supervision(self) -> str:
        """Data of the primary target that decisions used."""
        return self.supervision_of(self.target)

    def supervision_of(self, target: str) -> str:
        """Data of a target that decisions used: dev labels, if schedule, weights or rollback depend on them.

        Schedules use the primary target only.
        """
        reads = READS_TARGET[self.settings.reweight] or self.settings.tolerance is not None
        return "target-dev-labels" if reads or (target == self.target and self.schedule.reads_target) else "none"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, JointClassifier)
        # Before a checkpoint is loaded: the members have their initial weights.
        if self.base is None:
            first = pl_module.member(next(iter(self.weights))).merge_state()
            self.base = {name: tensor.detach().cpu().clone() for name, tensor in first.items()}
        if self.settings.outer != "none" and self.outer is None:
            self.outer = OuterState(dict(self.base))

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # At the start of the batch after a step: the step has been logged, and a run that resumes between the two
        # gets here again. The last step of an epoch is handled at the end of the epoch.
        if self.schedule.by_step and batch_idx and batch_idx % trainer.accumulate_grad_batches == 0:
            now = Moment(trainer.current_epoch + 1, trainer.global_step, epoch_end=False)
            # The input of schedules within an epoch is the same in all processes: no communication is needed.
            reason = self._pending or self.schedule.due(now, Past(self.epochs, self.history))
            if reason is not None:
                self._merge(trainer, pl_module, now, reason, None)
        merges = [record["step"] for record in self.history if record["committed"] and record["sync"] != "none"]
        if self.settings.learning_rate == "rewarm" and merges:
            assert isinstance(pl_module, JointClassifier)
            _rewarm(trainer, pl_module, merges[-1], self.settings.rewarm)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            found = {locale: scores.accuracy for locale, scores in pl_module.scores.items()}  # type: ignore[union-attr, operator]
            self._validated = (trainer.global_step, len(self.history), found)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        scores = None
        if self.settings.score_epochs or self.schedule.reads_scores:
            known = self._validated
            own = known[2] if known and known[:2] == (step, len(self.history)) else None
            scores = self._round(trainer).scores(self._members(pl_module), own)
            # A run that resumes at this point has them already.
            self.epochs = [*(found for found in self.epochs if found["epoch"] < epoch)]
            self.epochs.append({"epoch": epoch, "step": step, **scores})
        now = Moment(epoch, step, epoch_end=True, last=_is_last(trainer, epoch))
        due = self._pending or self.schedule.due(now, Past(self.epochs, self.history))
        reason = trainer.strategy.broadcast(due)
        if reason is not None:
            self._merge(trainer, pl_module, now, reason, scores)

    def _merge(
        self, trainer: Trainer, module: LightningModule, now: Moment, reason: str, scores: dict[str, Any] | None
    ) -> None:
        self.at_epoch_end = now.epoch_end
        self._pending = reason
        if self.before_merge is not None:
            self.before_merge(trainer)
        self._pending = None
        started = time.perf_counter()
        members = self._members(module)
        proposal = self._round(trainer).propose(members, scores, self.outer)
        # Rank 0 decides, although scores should be equal on all devices.
        verdicts, committed = trainer.strategy.broadcast(committed_targets(proposal.targets, self.settings))
        for target, found in proposal.targets.items():
            found["committed"] = verdicts[target]
            if verdicts[target]:
                state = proposal.models[target]
                self.models[target] = {name: tensor.detach().cpu() for name, tensor in state.items()}
        if committed:
            self._carry_out(trainer, members, proposal)
        record = {
            "index": len(self.history) + 1,
            "epoch": now.epoch,
            "step": now.step,
            "reason": reason,
            "method": self.settings.method,
            "sync": self.sync,
            "moments": self.settings.moments,
            "committed": committed,
            "seconds": time.perf_counter() - started,
            "targets": proposal.targets,
            "sources": proposal.sources,
            "distances": proposal.distances,
            "drift": mean_distance(proposal.distances),
        }
        record["schedule"] = self.schedule.state(Past(self.epochs, [*self.history, record]))
        self.history.append(record)
        accuracy = proposal.targets[self.target]["after"]  # equal in all processes
        module.log("merge/accuracy", accuracy, logger=False, rank_zero_only=True, sync_dist=True)

    @property
    def sync(self) -> str:
        """Update of the members after a merge: ``replace``, ``pull`` or ``none``."""
        return "none" if self.settings.follow == "none" else self.settings.sync

    def _carry_out(self, trainer: Trainer, members: Mapping[str, IntentClassifier], proposal: Proposal) -> None:
        self.outer = proposal.outer
        if self.sync == "none":
            return
        for member in members.values():
            member.take(
                proposal.followed
                if self.sync == "replace"
                else pulled(member.merge_state(), proposal.followed, self.settings.pull_keep)
            )
        found = [found["weights"] for found in proposal.targets.values()]
        weights = mean_weights(found if self.settings.follow == "mean" else found[:1], list(members))
        for optimizer in trainer.optimizers:
            for parameters in zip(*(member.parameters() for member in members.values()), strict=True):
                states = [optimizer.state.get(parameter, {}) for parameter in parameters]
                settle_moments(states, weights, self.settings.moments)
        after = {name: member.merge_state() for name, member in members.items()}
        check_agreement(after, f"after merge {len(self.history) + 1}")

    def _members(self, module: LightningModule) -> dict[str, IntentClassifier]:
        assert isinstance(module, JointClassifier)
        release_memory()
        module.offload()  # evaluation and merges need all members on one device
        return {name: module.member(name) for name in self.members}

    def _round(self, trainer: Trainer) -> MergeRound:
        assert self.base is not None
        data = trainer.datamodule  # type: ignore[attr-defined]
        precision = trainer.precision_plugin.forward_context
        return MergeRound(self.targets, self.settings, data, self.base, self.seed, precision)

    def state_dict(self) -> dict[str, Any]:
        past = Past(self.epochs, self.history)
        return {
            "history": self.history,
            "epochs": self.epochs,
            "schedule": self.schedule.state(past),
            "models": self.models,
            "outer": self.outer.state_dict() if self.outer else None,
            "pending": self._pending,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = list(state_dict["history"])
        self.epochs = list(state_dict["epochs"])
        self.models = dict(state_dict["models"])
        self.outer = OuterState(**state_dict["outer"]) if state_dict["outer"] else None
        self._pending = state_dict["pending"]


def _rewarm(trainer: Trainer, module: JointClassifier, merged_at: int, share: float) -> None:
    """Applies learning rate rewarming after a merge, over a share of each member's epoch.

    The scheduled learning rate is recomputed in each step, so no state has to be restored.
    """
    for found in trainer.lr_scheduler_configs:
        for group, planned in zip(found.scheduler.optimizer.param_groups, found.scheduler.get_last_lr(), strict=True):
            rate = module.rates[group["member"]]
            since = rate.done(trainer.global_step) - rate.done(merged_at)
            steps = max(1, round(share * rate.own[-1]))
            if since < steps:
                group["lr"] = planned * (since + 1) / (steps + 1)


def _is_last(trainer: Trainer, epoch: int) -> bool:
    # `trainer.fit_loop.done` has a side effect: it would count the epoch as completed in checkpoints.
    stopped = (
        trainer.should_stop and epoch >= (trainer.min_epochs or 0) and trainer.global_step >= (trainer.min_steps or 0)
    )
    return stopped or epoch == trainer.max_epochs or 0 < trainer.max_steps <= trainer.global_step
