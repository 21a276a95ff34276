"""Members on the device and members beside it: weights, and the optimizer's moments with them, in ordinary memory."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

OFF = torch.device("cpu")


@torch.no_grad()
def place(member: nn.Module, device: torch.device, optimizers: Iterable[Optimizer] = ()) -> None:
    """Brings a member's trainable parameters, and what optimizers keep of them, to a device; gradients are dropped.

    The parameters stay the objects that they are, so whoever holds them goes on holding them. What is frozen stays
    where it is: members may share it.

    Args:
        member: the member.
        device: where it goes.
        optimizers: the optimizers that train it.
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
