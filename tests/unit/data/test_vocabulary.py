"""The vocabulary of some texts: its tokens, their new ids, and tokens outside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.data.vocabulary import Vocabulary, used_vocabulary
from mu_lightning.utilities.errors import UserError


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    return load_tokenizer(tiny_base)


def test_special_tokens_and_all_up_to_the_padding_are_always_kept(tokenizer: Any) -> None:
    found = used_vocabulary([np.array([50, 7, 50], np.int32), np.array([9], np.int32)], tokenizer, 400, 1)
    assert set(found.kept) == {0, 1, 7, 9, 50, *tokenizer.all_special_ids}
    assert found.kept.tolist() == sorted(found.kept)
    assert found.places(np.array([0, 1])).tolist() == [0, 1]
    assert len(found) == len(found.kept)
    assert found.size == 400
    padded = used_vocabulary([np.array([7], np.int32)], tokenizer, 400, 20)
    assert padded.places(np.array([20])).tolist() == [20]


def test_a_token_s_new_number_is_its_place_among_the_kept() -> None:
    found = Vocabulary(np.array([0, 1, 5, 8], np.int32), 10)
    tokens = np.array([[5, 0], [8, 1]], np.int32)
    assert found.places(tokens).tolist() == [[2, 0], [3, 1]]
    assert found.kept[found.places(tokens)].tolist() == tokens.tolist()


def test_a_token_that_is_not_kept_is_refused_and_never_taken_for_another() -> None:
    found = Vocabulary(np.array([0, 1, 5, 8], np.int32), 10)
    found.check(np.array([[0, 8], [5, 5]]), "sw-KE test")
    with pytest.raises(UserError, match=r"sw-KE test has 2 tokens outside .* 4 .*6, 9.*--model.vocabulary full"):
        found.check(np.array([[0, 6], [9, 5]]), "sw-KE test")


def test_the_data_module_refuses_text_with_other_pieces_before_any_batch(data_module: Any, corpus: Any) -> None:
    data = data_module(("en-US",))
    tokens = data.encoded("en-US", "train").tokens
    data = data_module(("en-US",))
    data.vocabulary = used_vocabulary([tokens], data.tokenizer, 400, 1)
    next(iter(data.train_dataloader()))
    with pytest.raises(UserError, match=r"af-ZA test of small has .* tokens"):
        data.eval_loaders("test", ["af-ZA"])
