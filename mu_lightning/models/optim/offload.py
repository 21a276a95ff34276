"""Offloads inactive members, weights and optimizer state, to CPU memory."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

OFFLOADED = torch.device("cpu")


@torch.no_grad()
def move_member(member: nn.Module, device: torch.device, optimizers: Iterable[Optimizer] = ()) -> None:
    """Moves a member's trainable parameters and their optimizer state to a device; gradients are dropped.

    Parameter objects keep their identity. Frozen parameters are not moved, because members may share them.

    Args:
        member: the member.
        device: the target device.
        optimizers: optimizers of the member.
    """
    optimizers = list(optimizers)
    for parameter in member.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.device != device:
            parameter.grad = None
            parameter.data = parameter.data.to(device)
        for optimizer in optimizers:
            state = optimizer.state.get(parameter, {})
            state.update({key: value.to(device) for key, value in state.items() if torch.is_tensor(value)})
