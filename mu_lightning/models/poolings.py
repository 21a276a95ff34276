"""Poolings of sentence embeddings: pure functions of hidden states.

To add a pooling, add a function and a line in `POOLINGS`. Importing this module does not import torch.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Maps hidden states of all layers (embeddings first, each (B, L, width)) and the mask (B, L) to (B, width).
Pooling = Callable[[Sequence["Tensor"], "Tensor"], "Tensor"]


def mean(states: Sequence["Tensor"], mask: "Tensor") -> "Tensor":
    """Mean of the last layer over all tokens, including special tokens (Reimers and Gurevych 2019)."""
    weights = mask.to(states[-1])[:, :, None]
    return (states[-1] * weights).sum(dim=1) / weights.sum(dim=1)


def cls(states: Sequence["Tensor"], mask: "Tensor") -> "Tensor":
    """First token of the last layer."""
    del mask
    return states[-1][:, 0]


def first_last(states: Sequence["Tensor"], mask: "Tensor") -> "Tensor":
    """Mean over tokens of the first and the last layer (Su et al. 2021, arXiv:2103.15316)."""
    return (mean(states[:2], mask) + mean(states, mask)) / 2


POOLINGS: dict[str, Pooling] = {"mean": mean, "cls": cls, "first-last": first_last}
