"""The gradients of members that are trained together: a norm for each, and each clipped by its own."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from mu_lightning.models.cpu.member_threads import spread


class MemberGradients:
    """What a step needs to know of each member's gradient.

    Args:
        members: name -> member.

    Attributes:
        side_by_side: whether each member's are worked on by a thread of its own.
    """

    def __init__(self, members: Mapping[str, nn.Module]) -> None:
        self.side_by_side = False
        self._members = dict(members)
        self._trained: dict[str, list[nn.Parameter]] = {}
        self._norms: dict[str, Tensor] = {}

    def norms(self) -> dict[str, Tensor]:
        """Member -> the norm of its gradient, a scalar; members without one are left out.

        Found once a step, clipping goes by it too: so nothing may change in between.
        """
        found = {name: [one.grad for one in self._learning(name) if one.grad is not None] for name in self._members}
        names = [name for name, gradients in found.items() if gradients]
        if names != list(self._norms):
            norms = self._spread([partial(nn.utils.get_total_norm, found[name]) for name in names])
            self._norms = dict(zip(names, norms, strict=True))
        return self._norms

    def clip(self, most: float, by_value: bool) -> None:
        """Clips each member's gradient, as if it were trained alone.

        Args:
            most: its largest norm, or of its elements the largest magnitude.
            by_value: whether the elements are clipped.
        """
        if not by_value:
            self.norms()
        clip = self._clip_value if by_value else self._clip_norm
        # A member whose epoch is over has no gradient: torch refuses to clip nothing.
        self._spread([partial(clip, name, most) for name in self._members if self._learning(name)])

    def forget_norms(self) -> None:
        """The gradients change now."""
        self._norms.clear()

    def _clip_norm(self, name: str, most: float) -> None:
        nn.utils.clip_grads_with_norm_(self._learning(name), most, self._norms[name])

    def _clip_value(self, name: str, most: float) -> None:
        nn.utils.clip_grad_value_(self._learning(name), most)

    def _learning(self, name: str) -> list[nn.Parameter]:
        """The member's parameters that have a gradient."""
        if name not in self._trained:  # walking through a model takes longer than a small one's layer
            self._trained[name] = [one for one in self._members[name].parameters() if one.requires_grad]
        return [parameter for parameter in self._trained[name] if parameter.grad is not None]

    def _spread(self, work: Sequence[Callable[[], Any]]) -> list[Any]:
        return spread(work) if self.side_by_side else [one() for one in work]
