"""PyTorch has no public way to ask whether a module has forward hooks."""

from collections.abc import Iterator
from typing import Protocol

from torch import nn


class _Module(Protocol):
    def modules(self) -> Iterator[nn.Module]: ...


def has_forward_hooks(module: _Module) -> bool:
    """Whether somebody wants to see what goes through a module or a part of it."""
    return any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
