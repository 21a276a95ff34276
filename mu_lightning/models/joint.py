"""Joint training of several members in one LightningModule, each with its own loss and gradient norm."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from mu_lightning.data.batching import seed_of
from mu_lightning.data.encoding import Batch
from mu_lightning.data.turns import Turns
from mu_lightning.models.classifier import EvaluationModule, IntentClassifier
from mu_lightning.models.cpu import LoopedMembers, TrainingPass, training_pass
from mu_lightning.models.losses import MemberLoss, balanced
from mu_lightning.models.optim.building import build_optimizer
from mu_lightning.models.optim.gradients import MemberGradients
from mu_lightning.models.optim.micro_batches import MicroBatches, out_of_memory
from mu_lightning.models.optim.offload import OFFLOADED, move_member
from mu_lightning.models.optim.optimizer import MemberAdamW
from mu_lightning.models.optim.rate import member_rates, rate_scheduler
from mu_lightning.settings import ModelSettings
from mu_lightning.utilities.process_memory import release_memory


class JointClassifier(EvaluationModule):
    """Trains several members in one loop; each member learns exactly as if it were trained alone.

    The loss is the sum of the members' mean losses, so the gradient of a member does not depend on the others. An
    inactive member has no batch and no gradient, and AdamW skips it. Dropout is seeded by run, member, step and device,
    so it depends neither on other members nor on resuming. With ``members_in_memory``, inactive members are offloaded
    to CPU memory.

    Args:
        members: name -> classifier, all of one architecture.
        settings: settings of model and optimizer.
        seed: random seed of the run.

    Attributes:
        losses: loss of each member in the last optimizer step: the mean over the batches that it has had in it so far.
        gradients: gradient norms and clipping.
        stopped: members that are no longer trained; merges still include them.
        loop: computes members one after another; used for micro-batches too.
        training_pass: computes members in training; chosen when training starts.
        loss: computes a member's loss from its logits; holds label weights with ``class_weights``.
    """

    def __init__(self, members: Mapping[str, IntentClassifier], settings: ModelSettings, seed: int = 0) -> None:
        super().__init__()
        self.members = nn.ModuleDict(members)
        self.subset = next(iter(members.values())).subset
        self.settings = settings
        self.seed = seed
        self._present: tuple[str, ...] = ()
        self.at_once = settings.members_in_memory if settings.members_in_memory < len(members) else 0
        self.loss = MemberLoss(settings.label_smoothing)
        self.micro_batches = MicroBatches()
        self.losses: dict[str, Tensor] = {}
        self._batch_losses: dict[str, list[Tensor]] = {}
        if settings.gradient_checkpointing:
            for member in members.values():
                model: Any = member.model  # the older name is deprecated in transformers
                enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
                enable({"use_reentrant": False})
        self.stopped: set[str] = set()
        self.loop = LoopedMembers(members, self.micro_batches)
        self.training_pass: TrainingPass = self.loop
        self._stepped = False  # whether this batch had an optimizer step, with gradient accumulation
        self.gradients = MemberGradients(members)

    @property
    def learning_rate(self) -> float:
        """The peak learning rate: from the settings, or by hidden size and adapters."""
        if self.settings.learning_rate is not None:
            return self.settings.learning_rate
        width: int = self.member(next(iter(self.members))).model.config.hidden_size  # also where it has another name
        return min(1e-3, 5e-5 * (768 / width) ** 2) * (1 if self.settings.adapter == "none" else 10)

    def member(self, name: str) -> IntentClassifier:
        """Returns a member by name."""
        member = self.members[name]
        assert isinstance(member, IntentClassifier)
        return member

    def forward(self, batch: Mapping[str, Batch]) -> dict[str, Tensor]:
        """Computes the logits of each member's batch, shape (B, classes)."""
        return {name: self.member(name)(part) for name, part in batch.items()}

    def to(self, *args: Any, **kwargs: Any) -> "JointClassifier":
        """Moves the module; with ``members_in_memory``, trainable weights are not moved."""
        if not self.at_once:
            return super().to(*args, **kwargs)
        trained = {parameter: parameter.data for parameter in self.parameters() if parameter.requires_grad}
        for parameter, data in trained.items():
            parameter.data = data.new_empty(0)
        super().to(*args, **kwargs)
        for parameter, data in trained.items():
            parameter.data = data
        return self

    def offload(self, keeping: Iterable[str] = ()) -> None:
        """With ``members_in_memory``, offloads weights and moments of all members except some."""
        self._present = tuple(keeping)
        if self.at_once:
            for name in self.members:
                device = self.device if name in self._present else OFFLOADED
                move_member(self.member(name), device, self.trainer.optimizers)

    def setup(self, stage: str) -> None:
        """Computes balanced label weights from the train rows of each member."""
        if stage == "fit" and self.settings.class_weights == "balanced":
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            for name in self.members:
                counts = sum(data.label_counts(locale) for locale in data.members[name])
                self.loss.label_weights[name] = balanced(torch.as_tensor(counts))

    def on_train_start(self) -> None:
        """Chooses the execution mode, after callbacks have modified the members.

        Raises:
            UserError: ``stacked`` was requested but is not supported.
        """
        members = {name: self.member(name) for name in self.members}
        self.training_pass = training_pass(members, self.loop, self.settings, self.trainer)
        for optimizer in self.trainer.optimizers:
            assert isinstance(optimizer, MemberAdamW)
            optimizer.side_by_side = self.training_pass.stacked
        self.gradients.side_by_side = self.training_pass.stacked

    def on_train_batch_start(self, batch: Mapping[str, Batch], batch_idx: int) -> None:
        self._stepped = False
        if self.at_once and (group := self._turns.places(self.current_epoch)[batch_idx].group) != self._present:
            self.offload(keeping=group)

    def on_validation_start(self) -> None:
        self.offload()  # evaluation and merges need the memory, and all members on one device
        release_memory()

    def training_step(self, batch: Mapping[str, Batch], batch_idx: int) -> Tensor:
        number = self._turns.places(self.current_epoch)[batch_idx].number if self.at_once else batch_idx
        losses = self.step_losses(batch, number)
        self._note_losses(losses, batch_idx)
        if not losses:  # all members of this batch are inactive or stopped
            return torch.zeros((), device=self.device, requires_grad=True)
        accumulated = self.trainer.accumulate_grad_batches
        if accumulated > 1:
            # Lightning divides by that number, but a step's gradient is the mean over the batches that a member has.
            batches = self._turns.batches_of_step(self.current_epoch, batch_idx)
            losses = {name: loss * (accumulated / batches[name]) for name, loss in losses.items()}
        return torch.stack(list(losses.values())).sum()

    def _note_losses(self, losses: Mapping[str, Tensor], batch_idx: int) -> None:
        """Updates `losses` with a batch: each device has a share of it, of which the mean is the whole batch's."""
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self._batch_losses = {}
        if losses:
            shares = torch.stack([loss.detach() for loss in losses.values()])
            whole = self.trainer.strategy.reduce(shares, reduce_op="mean")
            assert isinstance(whole, Tensor)
            for name, loss in zip(losses, whole.unbind(), strict=True):
                self._batch_losses.setdefault(name, []).append(loss)
        self.losses = {name: torch.stack(found).mean() for name, found in self._batch_losses.items()}
        if self.losses:
            mean = torch.stack(list(self.losses.values())).mean()
            self.log("train/loss", mean, prog_bar=True, logger=False, batch_size=1)

    def log_losses(self) -> None:
        """Logs the loss of each member that has taken part in the step, and their mean.

        This does not use `log`, which would log the last loss of inactive members again in every step.
        """
        if not self.losses:
            return
        each = torch.stack(list(self.losses.values()))
        metrics = {f"train/loss/{name}": loss for name, loss in zip(self.losses, each.tolist(), strict=True)}
        metrics |= {"train/loss": each.mean().item(), "epoch": self.current_epoch}
        for logger in self.trainer.loggers:
            logger.log_metrics(metrics, step=self.global_step - 1)

    def step_losses(self, batch: Mapping[str, Batch], number: int) -> dict[str, Tensor]:
        """Computes the mean loss of each member, a scalar.

        Args:
            batch: member -> batch.
            number: index of the batch in the epoch, which seeds dropout.
        """
        while True:
            try:
                learning = {name: part for name, part in batch.items() if name not in self.stopped}
                if not learning:
                    return {}
                seeds = {
                    name: seed_of(self.seed, name, self.current_epoch, number, self.global_rank) for name in learning
                }
                path = self.training_pass if self.micro_batches.parts == 1 else self.loop
                return path.losses(learning, seeds, self.loss)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self.micro_batches.halve(_rows(batch), error)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Performs an optimizer step; after an out-of-memory error the gradient is recomputed in micro-batches."""

        def closure() -> Any:
            while True:
                try:
                    assert optimizer_closure is not None
                    return optimizer_closure()
                except RuntimeError as error:
                    # Partial gradients cannot be separated from those of earlier batches of this step.
                    if not out_of_memory(error) or self.trainer.accumulate_grad_batches > 1:
                        raise
                    self.micro_batches.halve(self.trainer.datamodule.batch_size.most_rows, error)  # type: ignore[attr-defined]

        super().optimizer_step(epoch, batch_idx, optimizer, closure)
        optimizer.zero_grad()  # else the next forward pass would find the gradients still there
        self._stepped = True

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        for group in optimizer.param_groups:
            if group["weight_decay"]:
                self.member(group["member"]).decay_word_embeddings(1 - group["lr"] * group["weight_decay"])

    def on_train_batch_end(self, outputs: Any, batch: Mapping[str, Batch], batch_idx: int) -> None:
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if self._stepped and every and (self.global_step % every == 0 or self.trainer.should_stop):
            self.log_losses()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["micro_batches"] = self.micro_batches.parts
        if self.subset is not None:
            self.subset.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.micro_batches.parts = checkpoint.get("micro_batches", 1)
        if self.subset is not None:
            self.subset.check(checkpoint)

    def eval_logits(self, batch: Batch, locale: str) -> Tensor:
        """Returns the logits of the member that was trained on the locale."""
        members = self.trainer.datamodule.members  # type: ignore[attr-defined]
        learner = next(name for name, locales in members.items() if locale in locales)
        return self.member(learner)(batch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Creates one AdamW with two parameter groups per member, with and without weight decay (biases and norms)."""
        members = {name: self.member(name) for name in self.members}
        optimizer = build_optimizer(members, self.settings, self.learning_rate, self.seed)
        self.rates = member_rates(self.members, self._turns, self.trainer.max_epochs, self.settings.warmup)
        scheduler = rate_scheduler(optimizer, self.rates)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips the gradient of each member by its own norm."""
        if gradient_clip_val:
            self.gradients.clip(gradient_clip_val, gradient_clip_algorithm == "value")
        self.gradients.forget_norms()

    @property
    def _turns(self) -> Turns:
        turns: Turns = self.trainer.datamodule.turns  # type: ignore[attr-defined]
        return turns


def _rows(batch: Mapping[str, Batch]) -> int:
    return max(len(part["labels"]) for part in batch.values())
