"""Sentence embeddings of an encoder: a module from a batch to vectors, by any of the common poolings."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mu_lightning.data.encoding import Batch
from mu_lightning.models.poolings import POOLINGS
from mu_lightning.utilities.errors import unknown


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
