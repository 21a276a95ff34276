"""Poolings of an encoder's hidden states, with and without padding."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mu_lightning.checkpoints import load_encoder
from mu_lightning.models.sentences import POOLINGS, SentenceEncoder
from mu_lightning.utilities.errors import UserError


@pytest.fixture
def encoder(tiny_base: Path) -> SentenceEncoder:
    return SentenceEncoder(load_encoder(tiny_base), list(POOLINGS)).eval()


def test_each_pooling_is_what_it_is_called(encoder: SentenceEncoder, data_module: Any) -> None:
    batch = data_module().encoded("en-US", "dev")[[3]]
    length = int(batch["attention_mask"].sum())
    assert length < batch["input_ids"].shape[1], "nothing is padded, so the mask does not count"
    with torch.inference_mode():
        found = encoder(batch)[:, 0]
        states = encoder.model(input_ids=batch["input_ids"][:, :length], output_hidden_states=True).hidden_states
    assert len(states) == 3  # the embeddings and two layers
    expected = {
        "mean": states[2][0].mean(dim=0),
        "cls": states[2][0, 0],
        "first-last": ((states[1] + states[2]) / 2)[0].mean(dim=0),
    }
    for name, vector in zip(POOLINGS, found, strict=True):
        torch.testing.assert_close(vector, expected[name], atol=1e-5, rtol=1e-5)


def test_an_unknown_pooling_is_refused(encoder: SentenceEncoder) -> None:
    with pytest.raises(UserError, match="unknown pooling 'men': did you mean mean"):
        SentenceEncoder(encoder.model, ["men"])
