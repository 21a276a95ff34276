"""AdamW over members, which may be stepped side by side on the CPU's threads."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.adam import adam

from mu_lightning.models.cpu.member_threads import spread


class MemberAdamW(AdamW):
    """AdamW whose parameter groups name a member. What a step does, and the state that checkpoints hold, are AdamW's.

    Attributes:
        side_by_side: whether each member is stepped on a thread of its own: no thread waits for another one's share of
            an operation, as they do where all threads work on each.
    """

    side_by_side = False

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
            found: tuple[list[Tensor], ...] = ([], [], [], [], [], [])
            self._init_group(group, *found)  # here, and not on the threads: the order of the state is the groups' own
            if found[0]:
                work.setdefault(group["member"], []).append(partial(self._step_group, group, found))
        members = [partial(_each, steps) for steps in work.values()]
        if self.side_by_side:
            spread(members)
        else:
            _each(members)
        return loss

    def _step_group(self, group: dict[str, Any], found: Sequence[Any]) -> None:
        names = ("lr", "weight_decay", "eps", "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused")
        options: dict[str, Any] = {name: group[name] for name in (*names, "decoupled_weight_decay")}
        options["beta1"], options["beta2"] = group["betas"]
        for name in ("grad_scale", "found_inf"):  # what a gradient scaler leaves on an optimizer
            options[name] = getattr(self, name, None)
        adam(*found, **options)


def _each(steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()
