"""AdamW for several members, optionally parallel over members on a CPU."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.adam import adam

from mu_lightning.models.cpu import spread

MOMENTS = ("exp_avg", "exp_avg_sq")


class Stepped(NamedTuple):
    """A parameter with its gradient and optimizer state."""

    parameter: Tensor
    gradient: Tensor
    mean: Tensor
    square: Tensor
    step: Tensor


class MemberAdamW(AdamW):
    """AdamW whose parameter groups have a key ``member``; steps and state are those of AdamW.

    AMSGrad is not supported.

    Attributes:
        side_by_side: whether members are stepped in parallel, each on one thread, which avoids the synchronization of
            multi-threaded operations.
        moments_dtype: dtype of the moments; None for the dtype of the parameter.
    """

    side_by_side = False
    moments_dtype: torch.dtype | None = None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Performs an optimization step.

        Args:
            closure: computes the gradients and returns the loss.

        Returns:
            The result of the closure.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        work: dict[str, list[Callable[[], None]]] = {}
        for group in self.param_groups:
            # Not on the threads: the order of the state must be that of the groups.
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
        for name in ("grad_scale", "found_inf"):  # set by gradient scalers
            options[name] = getattr(self, name, None)
        parameters, gradients, means, squares, steps = map(list, zip(*found, strict=True))
        adam(parameters, gradients, means, squares, [], steps, **options)


def _each(steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()
