"""Guard: restores members with non-finite gradients, and enables smaller micro-batches after out-of-memory errors."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from mu_lightning.models.joint import JointClassifier
from mu_lightning.settings import GuardSettings
from mu_lightning.training.checkpointing.run_checkpoints import saved_checkpoints
from mu_lightning.utilities.errors import UserError

from .checkpoint import RunCheckpoint


class Guard(Callback):
    """Restores a member with a non-finite loss or gradient from the last checkpoint, with a lower learning rate.

    The step is skipped for this member only; other members are not affected. After `GuardSettings.retries` rollbacks
    the run stops with a checkpoint. It also enables halving micro-batches after out-of-memory errors.

    Args:
        checkpoints: callback that saves the run and stops it.
        settings: settings of the guard.

    Attributes:
        setbacks: number of rollbacks of each member.
    """

    def __init__(self, checkpoints: RunCheckpoint, settings: GuardSettings) -> None:
        self.checkpoints = checkpoints
        self.settings = settings
        self.setbacks: dict[str, int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert isinstance(pl_module, JointClassifier)
        pl_module.micro_batches.enabled = self.settings.out_of_memory

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        assert isinstance(pl_module, JointClassifier)
        if not self.settings.non_finite:
            return
        for name in _broken(trainer, pl_module):
            self._set_back(trainer, pl_module, name)

    @torch.no_grad()
    def _set_back(self, trainer: Trainer, module: JointClassifier, name: str) -> None:
        saved = saved_checkpoints(self.checkpoints.folder)[-1]
        for parameter in module.member(name).parameters():
            parameter.grad = None  # skipped by the optimizer
        state = torch.load(saved.path, map_location="cpu", mmap=True, weights_only=True)
        _restore(module, trainer.optimizers[0], name, state)
        done = self.setbacks.get(name, 0)
        step, loss = trainer.global_step + 1, float(module.losses.get(name, torch.nan))
        what = f"{name}: loss or gradient not finite in step {step} (loss {loss:.4g})"
        if done == self.settings.retries:
            self.checkpoints.failure = UserError(
                f"{what}, after {done} times back to a checkpoint with a lower learning rate: the run stops with a "
                f"checkpoint in {self.checkpoints.folder}; check the rows of {name}, or resume with --resume and a "
                "higher --guard.retries or a lower --guard.rate_factor"
            )
            return
        self.setbacks[name] = done + 1
        factor = self.settings.rate_factor ** (done + 1)
        _lower_rate(trainer, name, self.settings.rate_factor)
        trainer.print(
            f"{what}: back to step {saved.step}, learning rate x {factor:g} ({done + 1} of {self.settings.retries})"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"setbacks": dict(self.setbacks)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.setbacks = dict(state_dict["setbacks"])


def _broken(trainer: Trainer, module: JointClassifier) -> list[str]:
    """Returns members with a non-finite loss or gradient, synchronized over devices."""
    found = module.gradients.norms()
    names, norms = [], []
    for name in module.members:
        if name in found or name in module.losses:
            loss = module.losses.get(name, torch.zeros((), device=module.device)).float()
            names.append(name)
            norms.append(found[name].float() + loss if name in found else loss)
    if not names:
        return []
    finite = torch.isfinite(torch.stack(norms)).float()
    everywhere = trainer.strategy.reduce(finite, reduce_op="mean")
    assert isinstance(everywhere, Tensor)
    return [name for name, whole in zip(names, everywhere.tolist(), strict=True) if whole < 1]


def _restore(module: JointClassifier, optimizer: Optimizer, name: str, state: Mapping[str, Any]) -> None:
    prefix = f"members.{name}."
    for key, tensor in module.member(name).state_dict().items():
        if prefix + key in state["state_dict"]:  # checkpoints may lack a frozen base
            tensor.copy_(state["state_dict"][prefix + key])
    moments = state["optimizer_states"][0]
    for group, stored in zip(optimizer.param_groups, moments["param_groups"], strict=True):
        if group["member"] != name:
            continue
        for parameter, number in zip(group["params"], stored["params"], strict=True):
            found = moments["state"].get(number)
            if found is None:  # before the first step
                optimizer.state.pop(parameter, None)
                continue
            own = optimizer.state[parameter]
            for key, value in found.items():
                own[key].copy_(value)


def _lower_rate(trainer: Trainer, name: str, factor: float) -> None:
    for config in trainer.lr_scheduler_configs:
        for place, group in enumerate(config.scheduler.optimizer.param_groups):
            if group["member"] == name:
                config.scheduler.base_lrs[place] *= factor
                group["lr"] *= factor
                group["initial_lr"] *= factor
