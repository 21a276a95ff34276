"""How a sentence's tokens become one vector: pure functions of an encoder's hidden states.

A pooling is added as one function and one line of `POOLINGS`. Nothing heavy is imported, so that the command line knows
the names without torch.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# From the hidden states of all layers, embeddings first, each (B, L, width), and the mask (B, L), to (B, width).
Pooling = Callable[[Sequence["Tensor"], "Tensor"], "Tensor"]


def mean(states: Sequence["Tensor"], mask: "Tensor") -> "Tensor":
    """The mean of the last layer over a sentence's tokens, special ones included (Reimers and Gurevych 2019)."""
    weights = mask.to(states[-1])[:, :, None]
    return (states[-1] * weights).sum(dim=1) / weights.sum(dim=1)


def cls(states: Sequence["Tensor"], mask: "Tensor") -> "Tensor":
    """The last layer's first token."""
    del mask
    return states[-1][:, 0]


def first_last(states: Sequence["Tensor"], mask: "Tensor") -> "Tensor":
    """The mean over tokens and over the first and the last Transformer layer (Su et al. 2021, arXiv:2103.15316)."""
    return (mean(states[:2], mask) + mean(states, mask)) / 2


POOLINGS: dict[str, Pooling] = {"mean": mean, "cls": cls, "first-last": first_last}
