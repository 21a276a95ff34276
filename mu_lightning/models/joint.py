"""Several members trained together: one optimiser, a loss and a gradient norm for each, nothing shared."""

from collections.abc import Mapping

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mu_lightning.data.batching import seed_of
from mu_lightning.data.encoding import Batch
from mu_lightning.models.classifier import Evaluated, IntentClassifier
from mu_lightning.settings import ModelSettings


class JointClassifier(Evaluated):
    """Trains several members in one loop; each learns exactly what it would learn alone.

    The loss is the sum of the members' mean losses, so a member's gradient does not depend on the others; a member
    whose epoch is over gets no batch and no gradient, and AdamW leaves it alone. Random numbers (dropout) are drawn
    from a seed of (run, member, step, device), so they depend neither on the other members nor on where a run was
    resumed.

    Args:
        members: name -> classifier, all of one shape.
        settings: the optimiser's settings.
        seed: the run's seed.
    """

    def __init__(self, members: Mapping[str, IntentClassifier], settings: ModelSettings, seed: int = 0) -> None:
        super().__init__()
        self.members = nn.ModuleDict(members)
        self.settings = settings
        self.seed = seed
        self.loss = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)

    @property
    def learning_rate(self) -> float:
        """The peak learning rate: the one that was set, or the one that suits the members' width."""
        if self.settings.learning_rate is not None:
            return self.settings.learning_rate
        width: int = self.member(next(iter(self.members))).model.config.hidden_size
        return min(1e-3, 5e-5 * (768 / width) ** 2)

    def member(self, name: str) -> IntentClassifier:
        """The member of that name."""
        member = self.members[name]
        assert isinstance(member, IntentClassifier)
        return member

    def forward(self, batch: Mapping[str, Batch]) -> dict[str, Tensor]:
        """Member -> logits of its own batch, shape (B, classes)."""
        return {name: self.member(name)(part) for name, part in batch.items() if part is not None}

    def training_step(self, batch: Mapping[str, Batch | None], batch_idx: int) -> Tensor:
        losses = {}
        for name, part in batch.items():
            if part is not None:
                torch.manual_seed(seed_of(self.seed, name, self.current_epoch, batch_idx, self.global_rank))
                losses[name] = self.loss(self.member(name)(part), part["labels"]) * part["share"]
        self.log_dict({f"train/loss/{name}": loss.detach() for name, loss in losses.items()}, batch_size=1)
        total = torch.stack(list(losses.values())).sum()
        self.log("train/loss", total.detach() / len(losses), prog_bar=True, batch_size=1)
        return total

    def eval_logits(self, batch: Batch, locale: str) -> Tensor:
        """The logits of the member that learnt the locale."""
        members = self.trainer.datamodule.members  # type: ignore[attr-defined]
        learner = next(name for name, locales in members.items() if locale in locales)
        return self.member(learner)(batch)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """One AdamW with two parameter groups a member (matrices decay; biases and norms do not)."""
        groups = []
        for name in self.members:
            parameters = [parameter for parameter in self.member(name).parameters() if parameter.requires_grad]
            for decays in (True, False):
                chosen = [parameter for parameter in parameters if (parameter.ndim > 1) == decays]
                groups.append(
                    {"member": name, "params": chosen, "weight_decay": self.settings.weight_decay if decays else 0.0}
                )
        optimizer = AdamW(groups, lr=self.learning_rate, fused=True)
        rates = self._rates()
        scheduler = LambdaLR(optimizer, [rates[group["member"]] for group in optimizer.param_groups])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clips each member's gradient by its own norm, as if it were trained alone."""
        if gradient_clip_val:
            for name in self.members:
                parameters = [parameter for parameter in self.member(name).parameters() if parameter.grad is not None]
                if not parameters:  # its epoch is over: torch refuses to clip nothing
                    continue
                if gradient_clip_algorithm == "value":
                    nn.utils.clip_grad_value_(parameters, gradient_clip_val)
                else:
                    nn.utils.clip_grad_norm_(parameters, gradient_clip_val)

    def _rates(self) -> dict[str, "Rate"]:
        trainer = self.trainer
        steps: dict[str, int] = trainer.datamodule.member_steps()  # type: ignore[attr-defined]
        accumulate = trainer.accumulate_grad_batches
        steps = {name: -(-count // accumulate) for name, count in steps.items()}
        longest = max(steps.values())
        epochs = trainer.max_epochs or 1
        if trainer.max_steps > 0:
            epochs = min(epochs if epochs > 0 else trainer.max_steps, -(-trainer.max_steps // longest))
        return {name: Rate(count, longest, epochs, self.settings.warmup) for name, count in steps.items()}


class Rate:
    """The factor on a member's learning rate: linear warm-up, then linear decay to 0 over the member's own steps.

    The scheduler counts the steps of the longest member; a shorter one stands still at the end of each epoch.

    Args:
        steps: the member's optimiser steps in an epoch.
        longest: the longest member's.
        epochs: epochs of the run.
        warmup: share of the member's steps in which the rate rises.
    """

    def __init__(self, steps: int, longest: int, epochs: int, warmup: float) -> None:
        self.steps = steps
        self.longest = longest
        self.total = steps * epochs
        self.warm = round(self.total * warmup)

    def __call__(self, step: int) -> float:
        """The factor at the run's step `step`, 0 to 1."""
        done = step // self.longest * self.steps + min(step % self.longest, self.steps)
        if done < self.warm:
            return (done + 1) / (self.warm + 1)
        return max(0.0, (self.total - done) / max(1, self.total - self.warm))
