"""Sentence embeddings of an encoder, by several poolings."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mu_lightning.data.encoding import Batch
from mu_lightning.models.poolings import POOLINGS
from mu_lightning.utilities.errors import unknown


class SentenceEncoder(nn.Module):
    """An encoder with several poolings in one forward pass.

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
        """Computes embeddings of shape (poolings, B, width), in float32."""
        output: Any = self.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], output_hidden_states=True
        )
        return torch.stack([POOLINGS[name](output.hidden_states, batch["attention_mask"]) for name in self.poolings])
