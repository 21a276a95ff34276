"""Computes all members in parallel on CPU threads, with a `CompactClassifier` for each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from transformers import PreTrainedModel

from mu_lightning.data.encoding import Batch
from mu_lightning.models.cpu.compact import CompactClassifier
from mu_lightning.models.cpu.member_threads import run_parallel
from mu_lightning.models.cpu.packed import can_pack
from mu_lightning.models.cpu.products import Gradients
from mu_lightning.settings import ModelSettings
from mu_lightning.utilities.adapters.torch_hooks import has_forward_hooks
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.process_memory import retain_freed_memory

# bfloat16 is set by autocast.
PRECISIONS = ("32-true", "bf16-mixed")


class Member(Protocol):
    """What is trained in parallel with others: a module around a classifier of transformers."""

    model: PreTrainedModel

    def modules(self) -> Iterator[nn.Module]:
        """Itself and its parts, as of any module."""


def can_stack(members: Sequence[Member], settings: ModelSettings, trainer: Trainer) -> bool:
    """Whether members are computed in parallel.

    Raises:
        UserError: parallel execution was requested but is not supported.
    """
    if settings.execution == "loop":
        return False
    obstacle = _obstacle(members, settings, trainer)
    if obstacle and settings.execution == "stacked":
        raise UserError(
            "--model.execution stacked needs XLM-R members without adapters on a CPU in 32-true or bf16-mixed, "
            f"got {obstacle}: remove it, or use loop"
        )
    return obstacle is None


def _obstacle(members: Sequence[Member], settings: ModelSettings, trainer: Trainer) -> str | None:
    device = trainer.strategy.root_device.type
    if device != "cpu":
        return f"the device {device}"
    if trainer.precision not in PRECISIONS:
        return f"--precision {trainer.precision}"
    if settings.adapter != "none":
        return f"--adapter {settings.adapter}"
    if settings.gradient_checkpointing:
        return "model.gradient_checkpointing"
    for member in members:
        if has_forward_hooks(member) or not can_pack(member.model):
            return f"a {type(member.model).__name__} with hooks or of another kind, or a PyTorch without oneDNN"
    return None


class StackedMembers:
    """Computes losses and gradients of members in parallel, each on one thread.

    The gradient of a member is computed with its loss, so that activations of at most as many members as threads are in
    memory.

    Args:
        models: name -> classifier that `can_stack` supports.
        through_autograd: whether gradients are passed through autograd, as DDP requires; slower.
    """

    stacked = True

    def __init__(self, models: Mapping[str, PreTrainedModel], through_autograd: bool) -> None:
        retain_freed_memory()
        self._through_autograd = through_autograd
        self._members = {name: CompactClassifier(model) for name, model in models.items()}

    def losses(
        self, batch: Mapping[str, Batch], seeds: Mapping[str, int], loss: Callable[[str, Tensor, Batch], Tensor]
    ) -> dict[str, Tensor]:
        """Computes the differentiable scalar loss of each member.

        Args:
            batch: member -> batch.
            seeds: member -> random seed of dropout.
            loss: computes the loss from the name of a member, its logits of shape (B, classes), and its batch.
        """
        lower = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
        # Longest first, to balance the threads.
        names = sorted(batch, key=lambda name: -int(batch[name]["attention_mask"].sum()))
        steps = [
            partial(_step, self._members[name], batch[name], seeds[name], lower, partial(loss, name)) for name in names
        ]
        parameters = [parameter for name in names for parameter in self._members[name].parameters]
        if self._through_autograd:
            losses = _Steps.apply(steps, None, *parameters)
        else:
            losses = _Steps.apply(steps, parameters, torch.zeros((), requires_grad=True))
        found = dict(zip(names, losses, strict=True))
        return {name: found[name] for name in batch}


def _step(
    member: CompactClassifier,
    batch: Batch,
    seed: int,
    lower: torch.dtype | None,
    loss: Callable[[Tensor, Batch], Tensor],
) -> tuple[Tensor, Gradients]:
    logits, back = member(batch, seed, lower)
    with torch.enable_grad():
        value = loss(logits.requires_grad_(), batch)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), back(gradient)


class _Steps(torch.autograd.Function):
    """Losses with precomputed gradients, which are passed through autograd or written to the parameters."""

    @staticmethod
    def forward(
        ctx: Any,
        steps: Sequence[Callable[[], tuple[Tensor, Gradients]]],
        parameters: Sequence[nn.Parameter] | None,
        *inputs: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.parameters = parameters
        losses, ctx.found = zip(*run_parallel(steps), strict=True)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        found, ctx.found = ctx.found, None
        for gradient, own in zip(gradients, found, strict=True):
            if gradient != 1:  # gradient accumulation
                for tensor in own:
                    tensor.mul_(gradient)
        every = [tensor for own in found for tensor in own]
        if ctx.parameters is None:
            return None, None, *every
        for parameter, tensor in zip(ctx.parameters, every, strict=True):
            if parameter.requires_grad:
                parameter.grad = tensor if parameter.grad is None else parameter.grad.add_(tensor)
        return None, None, None
