"""The encoders of all members in one pass: `CompactEncoder` for each, side by side on the threads of the CPU."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from transformers import PreTrainedModel

from mu_lightning.data.encoding import Batch
from mu_lightning.errors import UserError
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.compact import CompactEncoder
from mu_lightning.models.packed import can_pack
from mu_lightning.models.threads import side_by_side
from mu_lightning.settings import ModelSettings

# bfloat16 is said by autocast, in each step.
PRECISIONS = ("32-true", "bf16-mixed")


def stacks(members: Sequence[IntentClassifier], settings: ModelSettings, trainer: Trainer) -> bool:
    """Whether the members of a run are computed in one pass.

    Raises:
        UserError: that was asked for, and cannot be.
    """
    if settings.execution == "loop":
        return False
    obstacle = _obstacle(members, settings, trainer)
    if obstacle and settings.execution == "stacked":
        raise UserError(
            "--model.execution stacked is for whole members of XLM-R's architecture on a CPU in 32-true or bf16-mixed, "
            f"given {obstacle}: leave it out, or choose loop"
        )
    return obstacle is None


def _obstacle(members: Sequence[IntentClassifier], settings: ModelSettings, trainer: Trainer) -> str | None:
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
        if member._forward_hooks or member._forward_pre_hooks or not can_pack(member.model):
            return f"a {type(member.model).__name__} with hooks or of another kind, or a PyTorch without oneDNN"
    return None


def first_states(
    models: Sequence[PreTrainedModel], batches: Sequence[Batch], seeds: Sequence[int]
) -> tuple[Tensor, ...]:
    """Each model's last hidden states of its own batch's first tokens, shapes (B, width).

    Args:
        models: classifiers for which `stacks` is true.
        batches: a batch for each.
        seeds: a seed for each, of dropout's random numbers.
    """
    lower = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    passes = [CompactEncoder(*one, lower) for one in zip(models, batches, seeds, strict=True)]
    parameters = [parameter for one in passes for parameter in one.parameters()]
    found: tuple[Tensor, ...] = _Stack.apply(passes, *parameters)
    return found


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, passes: Sequence[CompactEncoder], *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.passes = passes
        return tuple(side_by_side([one.forward for one in passes]))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        work = [partial(one.backward, gradient) for one, gradient in zip(ctx.passes, gradients, strict=True)]
        return None, *(tensor for own in side_by_side(work) for tensor in own)
