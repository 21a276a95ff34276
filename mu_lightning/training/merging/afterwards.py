"""Updates of members and optimizers after a merge: pure functions of tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mu_lightning.settings import Moments

State = Mapping[str, Tensor]


@torch.no_grad()
def pulled(own: State, merged: State, keep: float) -> dict[str, Tensor]:
    """Interpolates between member and merged model: keep · own + (1 - keep) · merged.

    PAPA, Jolicoeur-Martineau et al., 2023, https://arxiv.org/abs/2304.03094

    Args:
        own: state dict of the member.
        merged: state dict of the merged model.
        keep: share of the member's own weights, PAPA's alpha; 0 yields exactly the merged model.

    Returns:
        New tensors; integer tensors are those of the merged model.
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
    """Mean of state dicts; integer tensors are those of the first.

    Equal state dicts are preserved exactly.
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
    """Computes Σ w_i x_i for weights that sum to 1; equal tensors are preserved exactly."""
    first = tensors[0].to(_wide(tensors[0]))
    total = first.clone()
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        # Sum of differences to the first, so that equal tensors are exact.
        total.add_(tensor.to(first) - first, alpha=weight)
    return total.to(tensors[0].dtype)


def mean_weights(weights: Sequence[Mapping[str, float]], members: Sequence[str]) -> list[float]:
    """Mean of the merge weights of several targets, summing to 1; missing members have weight 0."""
    return [sum(found.get(name, 0.0) for found in weights) / len(weights) for name in members]


@dataclass(frozen=True)
class OuterState:
    """State of the outer optimizer.

    Attributes:
        anchor: state dict of the members after the last merge.
        velocity: momentum buffers of floating tensors; None before the first step.
    """

    anchor: dict[str, Tensor]
    velocity: dict[str, Tensor] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Returns tensors and plain values for checkpoints."""
        return {"anchor": self.anchor, "velocity": self.velocity}


@torch.no_grad()
def outer_step(
    state: OuterState, merged: State, learning_rate: float, momentum: float
) -> tuple[dict[str, Tensor], OuterState]:
    """Outer step with Nesterov momentum on the pseudo-gradient, anchor minus merged (DiLoCo, Douillard et al., 2023).

    https://arxiv.org/abs/2311.08105: v <- momentum · v + (anchor - merged); new = anchor - lr · (anchor - merged +
    momentum · v), as in ``torch.optim.SGD(nesterov=True)``. With learning rate 1 and momentum 0 it is exactly the
    merged model.

    Args:
        state: state of the outer optimizer.
        merged: state dict of the merged model.
        learning_rate: outer learning rate.
        momentum: outer momentum.

    Returns:
        The new state dict, on the device of the merged model, and the new optimizer state, on the CPU.
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
        # anchor - lr · step, relative to the merged model, so that a plain merge is exact.
        new[name] = (end + (1 - learning_rate) * gradient - learning_rate * momentum * speed).to(target.dtype)
        velocity[name] = speed.cpu()
    anchor = {name: tensor.detach().cpu().clone() for name, tensor in new.items()}
    return new, OuterState(anchor, velocity)


@torch.no_grad()
def settle_moments(states: Sequence[dict[str, Any]], weights: Sequence[float], how: Moments) -> None:
    """Averages, keeps or resets the moments of one parameter over members, in place.

    Averaged moments match averaged weights; individual moments let members diverge (DES-LOC, Iacob et al., 2025,
    https://arxiv.org/abs/2505.22549).

    Args:
        states: AdamW state of the parameter for each member: ``exp_avg``, ``exp_avg_sq``, ``step``. Nothing is done if
            a member has no state.
        weights: weights of the members, summing to 1.
        how: ``average`` keeps the step counts; ``reset`` resets them.
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
    """Dtype of the computation: float64 for float64, else float32."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32
