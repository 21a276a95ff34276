"""Vocabulary subsets: trimming, restoring, checkpoints."""

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
from mu_lightning.models.vocabulary_subset import select_vocabulary, word_embeddings_of
from mu_lightning.settings import LoraSettings
from mu_lightning.utilities.errors import UserError

TABLE = "roberta.embeddings.word_embeddings.weight"
KEPT = Vocabulary(np.array([0, 1, 2, 3, 17, 60, 399], np.int32), 400)


@pytest.fixture
def base(corpus: Any, tiny_base: Path) -> Any:
    return load_base(tiny_base, corpus.label_names, 0)


def test_a_trimmed_model_holds_the_used_rows_and_its_export_all(base: Any) -> None:
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    subset = select_vocabulary(base, KEPT, trimmed=True)
    assert subset.name == TABLE
    assert torch.equal(word_embeddings_of(base), before[TABLE][subset.kept])
    assert base.training
    assert base.get_input_embeddings().padding_idx == 1
    member = IntentClassifier(base, subset)
    with torch.no_grad():
        base.get_input_embeddings().weight += 1
    state = member.plain().model.state_dict()
    assert state.keys() == before.keys()
    for name, tensor in before.items():
        if name == TABLE:
            tensor[subset.kept] += 1
        assert torch.equal(state[name], tensor)
    assert len(word_embeddings_of(base)) == len(KEPT), "the member itself stays as it is"


def test_an_export_shares_all_but_the_table_with_the_member(base: Any) -> None:
    member = IntentClassifier(base, select_vocabulary(base, KEPT, trimmed=True))
    own = {tensor.data_ptr() for tensor in member.model.parameters()}
    other = [name for name, tensor in member.plain().model.named_parameters() if tensor.data_ptr() not in own]
    assert other == [TABLE]


def test_of_a_whole_table_merges_see_and_change_the_used_rows_alone(base: Any) -> None:
    start = word_embeddings_of(base).clone()
    subset = select_vocabulary(base, KEPT, trimmed=False)
    member = IntentClassifier(base, subset)
    state = {name: tensor + 1 for name, tensor in member.merge_state().items()}
    assert torch.equal(state[TABLE], start[subset.kept] + 1)
    member.take(state)
    start[subset.kept] += 1
    assert torch.equal(word_embeddings_of(base), start)
    assert member.plain() is member


def test_copies_of_a_member_share_the_base_s_table(base: Any) -> None:
    member = IntentClassifier(base, select_vocabulary(base, KEPT, trimmed=True))
    assert copy.deepcopy(member).subset is member.subset
    assert member.frozen_rows()[TABLE].table.data_ptr() == member.subset.table.data_ptr()  # type: ignore[union-attr]


def test_a_checkpoint_of_another_subset_is_refused(base: Any) -> None:
    subset = select_vocabulary(base, KEPT, trimmed=True)
    checkpoint: dict[str, Any] = {}
    subset.save(checkpoint)
    subset.check(checkpoint)
    checkpoint["vocabulary"] = torch.tensor([0, 1, 2, 3, 18, 60, 399])
    with pytest.raises(UserError, match=r"trained on other texts.*7 tokens"):
        subset.check(checkpoint)
    with pytest.raises(UserError, match="has the full vocabulary"):
        subset.check({})


def test_a_model_without_plain_word_embeddings_is_refused(base: Any, tiny_base: Path) -> None:
    sizes = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    model = CanineForSequenceClassification(CanineConfig(num_hash_functions=2, num_hash_buckets=32, **sizes))
    with pytest.raises(UserError, match=r"a canine model has no word embeddings.*--model.vocabulary full"):
        select_vocabulary(model, KEPT, trimmed=True)
    subset = select_vocabulary(base, KEPT, trimmed=True)
    with pytest.raises(UserError, match=r"target_modules adapts the word embeddings.*--model.vocabulary full"):
        adapted_members(base, ["x"], LoraSettings(target_modules=["word_embeddings"]), 0, "adapters", subset)
