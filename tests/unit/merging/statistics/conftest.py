"""A small classifier with padded texts, and sources that differ from it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, XLMRobertaConfig

Batch = dict[str, Tensor]
SOURCES = ("nl-NL", "de-DE")


def classifier(seed: int = 0) -> nn.Module:
    config = XLMRobertaConfig(
        vocab_size=40,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=20,
        num_labels=4,
        initializer_range=0.4,
        hidden_dropout_prob=0.5,
        attention_probs_dropout_prob=0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForSequenceClassification.from_config(config)


@pytest.fixture
def model() -> nn.Module:
    return classifier()


@pytest.fixture
def states() -> dict[str, dict[str, Tensor]]:
    return {name: classifier(seed).state_dict() for seed, name in enumerate(SOURCES, 1)}


@pytest.fixture
def batches() -> Callable[[int, int], list[Batch]]:
    """``batches(rows, size)``: texts of 3 to 7 tokens; several in a batch are padded."""

    def make(rows: int, size: int) -> list[Batch]:
        generator = torch.Generator().manual_seed(4)
        texts = [torch.randint(3, 40, (3 + row % 5,), generator=generator) for row in range(rows)]
        made = []
        for start in range(0, rows, size):
            part = texts[start : start + size]
            ids = nn.utils.rnn.pad_sequence(part, batch_first=True, padding_value=1)
            made.append({"input_ids": ids, "attention_mask": (ids != 1).long()})
        return made

    return make
