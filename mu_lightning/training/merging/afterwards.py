"""What members and their optimizers become after a merge: pure functions of tensors, with no model and no trainer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mu_lightning.settings import Moments

State = Mapping[str, Tensor]


@torch.no_grad()
def pulled(own: State, merged: State, keep: float) -> dict[str, Tensor]:
    """A member moved towards the merged model: keep · own + (1 - keep) · merged.

    PAPA, Jolicoeur-Martineau et al., 2023, https://arxiv.org/abs/2304.03094

    Args:
        own: the member's state dict.
        merged: the merged model's, of the same names and shapes.
        keep: the share of its own weights that the member keeps, PAPA's alpha; 0 gives the merged model to the bit.

    Returns:
        New tensors; what is not floating point comes from the merged model.
    """
    result = {}
    for name, target in merged.items():
        if target.is_floating_point():
            wide = _wide(target)
            result[name] = torch.lerp(target.to(wide), own[name].to(target.device, wide), keep).to(target.dtype)
        else:
            result[name] = target.clone()
    return result


@torch.no_grad()
def mean_state(states: Sequence[State]) -> dict[str, Tensor]:
    """The plain mean of state dicts of the same names and shapes; what is not floating point is the first's.

    The mean of equal ones is exactly each of them.
    """
    first = states[0]
    return {
        name: weighted_mean([state[name] for state in states], [1 / len(states)] * len(states))
        if tensor.is_floating_point()
        else tensor.clone()
        for name, tensor in first.items()
    }


@torch.no_grad()
def weighted_mean(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ w_i x_i for weights that sum to 1, of the tensors' shape and dtype; of equal tensors exactly each of them."""
    first = tensors[0].to(_wide(tensors[0]))
    total = first.clone()
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        # Added up as differences from the first, so that equal tensors lose no bit.
        total.add_(tensor.to(first) - first, alpha=weight)
    return total.to(tensors[0].dtype)


def mean_weights(weights: Sequence[Mapping[str, float]], members: Sequence[str]) -> list[float]:
    """The mean of several targets' merge weights, a number a member, summing to 1; a member that one lacks weighs 0."""
    return [sum(found.get(name, 0.0) for found in weights) / len(weights) for name in members]


@dataclass(frozen=True)
class OuterState:
    """What the outer optimizer carries from merge to merge.

    Attributes:
        anchor: the state dict that the members started from after the last merge.
        velocity: the momentum, of the same names where floating point; None before the first step.
    """

    anchor: dict[str, Tensor]
    velocity: dict[str, Tensor] | None = None

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: tensors and plain values."""
        return {"anchor": self.anchor, "velocity": self.velocity}


@torch.no_grad()
def outer_step(
    state: OuterState, merged: State, learning_rate: float, momentum: float
) -> tuple[dict[str, Tensor], OuterState]:
    """One step of Nesterov momentum on the pseudo-gradient, anchor minus merged (DiLoCo, Douillard et al., 2023).

    https://arxiv.org/abs/2311.08105: v <- momentum · v + (anchor - merged); new = anchor - lr · (anchor - merged +
    momentum · v), as ``torch.optim.SGD(nesterov=True)`` has it. With a rate of 1 and no momentum, the merged model to
    the bit.

    Args:
        state: the outer optimizer's state.
        merged: the merged model's state dict.
        learning_rate: the outer learning rate.
        momentum: the outer momentum.

    Returns:
        The new model, on the merged model's device, and the state for the next step, on the CPU.
    """
    new, velocity = {}, {}
    for name, target in merged.items():
        if not target.is_floating_point():
            new[name] = target.clone()
            continue
        wide = _wide(target)
        end = target.to(wide)
        gradient = state.anchor[name].to(target.device, wide) - end
        speed = gradient.clone() if state.velocity is None else state.velocity[name].to(gradient) * momentum + gradient
        # anchor - lr · step, written from the merged model's side, so that what is not wanted is exactly nothing.
        new[name] = (end + (1 - learning_rate) * gradient - learning_rate * momentum * speed).to(target.dtype)
        velocity[name] = speed.cpu()
    anchor = {name: tensor.detach().cpu().clone() for name, tensor in new.items()}
    return new, OuterState(anchor, velocity)


@torch.no_grad()
def settle_moments(states: Sequence[dict[str, Any]], weights: Sequence[float], how: Moments) -> None:
    """Averages, keeps or resets the optimizer's moments of one parameter over the members, in place.

    Averaged moments fit averaged weights: those of single members keep pulling them apart (DES-LOC, Iacob et al., 2025,
    https://arxiv.org/abs/2505.22549).

    Args:
        states: the optimizer's state of the same parameter in each member, as AdamW has it: ``exp_avg``,
            ``exp_avg_sq``, ``step``. Where a member has none yet, nothing is done.
        weights: the members' weights, summing to 1.
        how: ``average`` leaves each member's count of steps; ``reset`` starts it anew.
    """
    if how == "keep" or not all(states):
        return
    for key, value in states[0].items():
        if not isinstance(value, Tensor) or (key == "step" and how == "average"):
            continue
        if how == "reset":
            for state in states:
                state[key].zero_()
        else:
            mean = weighted_mean([state[key] for state in states], weights)
            for state in states:
                state[key].copy_(mean)


def _wide(tensor: Tensor) -> torch.dtype:
    """The dtype of the arithmetic: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
