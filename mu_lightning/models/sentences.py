"""Sentence embeddings of an encoder: a module from a batch to vectors, by any of the common poolings."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mu_lightning.data.encoding import Batch
from mu_lightning.utilities.errors import unknown

# From the hidden states of all layers, embeddings first, each (B, L, width), and the mask (B, L), to (B, width).
Pooling = Callable[[Sequence[Tensor], Tensor], Tensor]


def mean(states: Sequence[Tensor], mask: Tensor) -> Tensor:
    """The mean of the last layer over a sentence's tokens, special ones included (Reimers and Gurevych 2019)."""
    weights = mask.to(states[-1])[:, :, None]
    return (states[-1] * weights).sum(dim=1) / weights.sum(dim=1)


def cls(states: Sequence[Tensor], mask: Tensor) -> Tensor:
    """The last layer's first token."""
    del mask
    return states[-1][:, 0]


def first_last(states: Sequence[Tensor], mask: Tensor) -> Tensor:
    """The mean over tokens and over the first and the last Transformer layer (Su et al. 2021, arXiv:2103.15316)."""
    return (mean(states[:2], mask) + mean(states, mask)) / 2


POOLINGS: dict[str, Pooling] = {"mean": mean, "cls": cls, "first-last": first_last}


class SentenceEncoder(nn.Module):
    """An encoder and the poolings of one forward pass.

    Args:
        model: an ``AutoModel``.
        poolings: names of `POOLINGS`.

    Raises:
        UserError: a pooling is not one of `POOLINGS`.
    """

    def __init__(self, model: PreTrainedModel, poolings: Sequence[str]) -> None:
        super().__init__()
        for name in poolings:
            if name not in POOLINGS:
                raise unknown("pooling", name, POOLINGS)
        self.model = model
        self.poolings = tuple(poolings)

    def forward(self, batch: Batch) -> Tensor:
        """Embeddings, shape (poolings, B, width), in float32."""
        output: Any = self.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
        )
        return torch.stack([POOLINGS[name](output.hidden_states, batch["attention_mask"]) for name in self.poolings])
