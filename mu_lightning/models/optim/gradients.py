"""Gradient norms and gradient clipping for each member."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from mu_lightning.models.cpu import spread


class MemberGradients:
    """Gradient norms and clipping of members in a joint training step.

    Args:
        members: name -> member.

    Attributes:
        side_by_side: whether members are processed in parallel, each on one thread.
    """

    def __init__(self, members: Mapping[str, nn.Module]) -> None:
        self.side_by_side = False
        self._members = dict(members)
        self._trained: dict[str, list[nn.Parameter]] = {}
        self._norms: dict[str, Tensor] = {}

    def norms(self) -> dict[str, Tensor]:
        """Returns the gradient norm of each member that has gradients.

        Norms are cached until `forget_norms` and reused for clipping.
        """
        found = {name: [one.grad for one in self._learning(name) if one.grad is not None] for name in self._members}
        names = [name for name, gradients in found.items() if gradients]
        if names != list(self._norms):
            norms = self._spread([partial(nn.utils.get_total_norm, found[name]) for name in names])
            self._norms = dict(zip(names, norms, strict=True))
        return self._norms

    def clip(self, most: float, by_value: bool) -> None:
        """Clips the gradient of each member independently.

        Args:
            most: maximum norm, or maximum magnitude of the elements.
            by_value: whether to clip by value instead of by norm.
        """
        if not by_value:
            self.norms()
        clip = self._clip_value if by_value else self._clip_norm
        # Inactive members have no gradient, which torch does not accept.
        self._spread([partial(clip, name, most) for name in self._members if self._learning(name)])

    def forget_norms(self) -> None:
        """Clears the cached norms."""
        self._norms.clear()

    def _clip_norm(self, name: str, most: float) -> None:
        nn.utils.clip_grads_with_norm_(self._learning(name), most, self._norms[name])

    def _clip_value(self, name: str, most: float) -> None:
        nn.utils.clip_grad_value_(self._learning(name), most)

    def _learning(self, name: str) -> list[nn.Parameter]:
        """Parameters of a member that have a gradient."""
        if name not in self._trained:  # iterating over the modules is slower than a small layer
            self._trained[name] = [one for one in self._members[name].parameters() if one.requires_grad]
        return [parameter for parameter in self._trained[name] if parameter.grad is not None]

    def _spread(self, work: Sequence[Callable[[], Any]]) -> list[Any]:
        return spread(work) if self.side_by_side else [one() for one in work]
