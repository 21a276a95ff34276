"""A word table of which a run uses some rows: trimmed, put back, left alone, and told apart in checkpoints."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CanineConfig, CanineForSequenceClassification

from mu_lightning.checkpoints import load_base
from mu_lightning.data.vocabulary import Vocabulary
from mu_lightning.models.adapters import adapted_members
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.vocabulary_subset import word_table, words_of
from mu_lightning.settings import LoraSettings
from mu_lightning.utilities.errors import UserError

TABLE = "roberta.embeddings.word_embeddings.weight"
KEPT = Vocabulary(np.array([0, 1, 2, 3, 17, 60, 399], np.int32), 400)


@pytest.fixture
def base(corpus: Any, tiny_base: Path) -> Any:
    return load_base(tiny_base, corpus.label_names, 0)


def test_a_trimmed_model_holds_the_used_rows_and_its_export_all(base: Any) -> None:
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    words = words_of(base, KEPT, trimmed=True)
    assert words.name == TABLE
    assert torch.equal(word_table(base), before[TABLE][words.kept])
    assert base.training
    assert base.get_input_embeddings().padding_idx == 1
    member = IntentClassifier(base, words)
    with torch.no_grad():
        base.get_input_embeddings().weight += 1
    state = member.plain().model.state_dict()
    assert state.keys() == before.keys()
    for name, tensor in before.items():
        if name == TABLE:
            tensor[words.kept] += 1
        assert torch.equal(state[name], tensor)
    assert len(word_table(base)) == len(KEPT), "the member itself stays as it is"


def test_an_export_shares_all_but_the_table_with_the_member(base: Any) -> None:
    member = IntentClassifier(base, words_of(base, KEPT, trimmed=True))
    own = {tensor.data_ptr() for tensor in member.model.parameters()}
    other = [name for name, tensor in member.plain().model.named_parameters() if tensor.data_ptr() not in own]
    assert other == [TABLE]


def test_of_a_whole_table_merges_see_and_change_the_used_rows_alone(base: Any) -> None:
    start = word_table(base).clone()
    words = words_of(base, KEPT, trimmed=False)
    member = IntentClassifier(base, words)
    state = {name: tensor + 1 for name, tensor in member.merge_state().items()}
    assert torch.equal(state[TABLE], start[words.kept] + 1)
    member.take(state)
    start[words.kept] += 1
    assert torch.equal(word_table(base), start)
    assert member.plain() is member


def test_copies_of_a_member_share_the_base_s_table(base: Any) -> None:
    member = IntentClassifier(base, words_of(base, KEPT, trimmed=True))
    assert copy.deepcopy(member).words is member.words
    assert member.frozen_rows()[TABLE].table.data_ptr() == member.words.table.data_ptr()  # type: ignore[union-attr]


def test_a_checkpoint_of_other_pieces_is_refused(base: Any) -> None:
    words = words_of(base, KEPT, trimmed=True)
    checkpoint: dict[str, Any] = {}
    words.save(checkpoint)
    words.check(checkpoint)
    checkpoint["vocabulary"] = torch.tensor([0, 1, 2, 3, 18, 60, 399])
    with pytest.raises(UserError, match=r"of a run on other texts.*holds 7 pieces.*made of 7"):
        words.check(checkpoint)
    with pytest.raises(UserError, match="holds none"):
        words.check({})


def test_a_model_without_a_plain_word_table_is_refused(base: Any, tiny_base: Path) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    model = CanineForSequenceClassification(CanineConfig(num_hash_functions=2, num_hash_buckets=32, **sizes))
    with pytest.raises(UserError, match=r"a canine model has no word table.*--model.vocabulary full"):
        words_of(model, KEPT, trimmed=True)
    words = words_of(base, KEPT, trimmed=True)
    with pytest.raises(UserError, match=r"target_modules adapts the word table.*--model.vocabulary full"):
        adapted_members(base, ["x"], LoraSettings(target_modules=["word_embeddings"]), 0, "adapters", words)
