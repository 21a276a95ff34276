"""AdamW over members, which may be stepped side by side on the CPU's threads."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.adam import adam

from mu_lightning.models.cpu.member_threads import spread

MOMENTS = ("exp_avg", "exp_avg_sq")


class Stepped(NamedTuple):
    """A parameter that a step changes, with its gradient and its state: tensors of its shape, and a scalar."""

    parameter: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    step: Tensor


class MemberAdamW(AdamW):
    """AdamW whose parameter groups name a member. What a step does, and the state that checkpoints hold, are AdamW's.

    AMSGrad is not among it.

    Attributes:
        side_by_side: whether each member is stepped on a thread of its own: no thread waits for another one's share of
            an operation, as they do where all threads work on each.
        moments_dtype: of the first and second moments; None: the parameter's.
    """

    side_by_side = False
    moments_dtype: torch.dtype | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Steps all parameters that have a gradient.

        Args:
            closure: computes the gradients first, and returns the loss.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        work: dict[str, list[Callable[[], None]]] = {}
        for group in self.param_groups:
            # Here, and not on the threads: the order of the state is the groups' own.
            found = self._with_gradient(group["params"])
            if found:
                work.setdefault(group["member"], []).append(partial(self._step_group, group, found))
        members = [partial(_each, steps) for steps in work.values()]
        if self.side_by_side:
            spread(members)
        else:
            _each(members)
        return loss

    def _with_gradient(self, parameters: Sequence[Tensor]) -> list[Stepped]:
        found = []
        for parameter in parameters:
            if parameter.grad is not None:
                state = self.state[parameter]
                if not state:  # as AdamW's before its first step
                    state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                    state.update({name: torch.zeros_like(parameter, dtype=self.moments_dtype) for name in MOMENTS})
                found.append(Stepped(parameter, parameter.grad, state["exp_avg"], state["exp_avg_sq"], state["step"]))
        return found

    def _step_group(self, group: dict[str, Any], found: Sequence[Stepped]) -> None:
        names = ("lr", "weight_decay", "eps", "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused")
        options: dict[str, Any] = {name: group[name] for name in (*names, "decoupled_weight_decay")}
        options["beta1"], options["beta2"] = group["betas"]
        for name in ("grad_scale", "found_inf"):  # what a gradient scaler leaves on an optimizer
            options[name] = getattr(self, name, None)
        parameters, gradients, means, squares, steps = map(list, zip(*found, strict=True))
        adam(parameters, gradients, means, squares, [], steps, **options)


def _each(steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()
