"""Tokens in flat arrays: the same as the tokenizer's, padded to few widths, cached by content."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.data import encoding
from mu_lightning.data.corpus import Rows
from mu_lightning.data.encoding import concatenate, encode
from mu_lightning.data.vocabulary import used_vocabulary


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    return load_tokenizer(tiny_base)


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MU_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


TEXTS = ["two kilometers", "a", "1.5 Bhutanese ngultrums and a very long rest of it", ""]
ROWS = Rows(["w", "x", "y", "z"], TEXTS, [3, 1, 2, 0])


def test_a_batch_is_what_the_tokenizer_gives_in_the_order_asked_for(tokenizer: Any, fresh_cache: Path) -> None:
    rows = encode(ROWS, tokenizer, 64)
    batch = rows[[2, 0, 1]]
    expected = tokenizer([TEXTS[2], TEXTS[0], TEXTS[1]], padding=True, pad_to_multiple_of=8, return_tensors="pt")
    assert torch.equal(batch["input_ids"], expected["input_ids"])
    assert torch.equal(batch["attention_mask"], expected["attention_mask"])
    assert batch["labels"].tolist() == [2, 3, 1]
    assert batch["index"].tolist() == [2, 0, 1]
    assert batch["share"].item() == 1
    assert {batch[key].dtype for key in ("input_ids", "attention_mask", "labels", "index")} == {torch.int64}


def test_the_width_is_the_longest_rows_rounded_up_to_8(tokenizer: Any, fresh_cache: Path) -> None:
    rows = encode(ROWS, tokenizer, 64)
    for place, length in enumerate(rows.lengths):
        assert length == len(tokenizer(TEXTS[place])["input_ids"])
        assert rows[[place]]["input_ids"].shape == (1, -(-length // 8) * 8)


def test_long_texts_are_cut_with_their_frame_kept(tokenizer: Any, fresh_cache: Path) -> None:
    rows = encode(ROWS, tokenizer, 6)
    assert max(rows.lengths) == 6
    cut = rows[[2]]["input_ids"][0]
    assert (cut[0], cut[5], cut[6]) == (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)


def test_the_second_time_tokens_come_from_the_cache(
    tokenizer: Any, fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encode(ROWS, tokenizer, 64)
    (stored,) = fresh_cache.rglob("*.npy")
    monkeypatch.setattr(encoding, "_numbers", None)
    again = encode(ROWS, tokenizer, 64)
    assert np.array_equal(again.tokens, first.tokens)
    assert np.array_equal(again.offsets, first.offsets)
    assert np.load(stored).dtype == np.int32


def test_a_tokenizer_is_the_same_after_it_has_been_used(tokenizer: Any, fresh_cache: Path, tmp_path: Path) -> None:
    for name in ("cold", "warm"):
        encode(ROWS, tokenizer, 8)
        tokenizer.save_pretrained(tmp_path / name)
    saved = [(tmp_path / name / "tokenizer.json").read_text() for name in ("cold", "warm")]
    assert saved[0] == saved[1]
    assert json.loads(saved[0])["truncation"] is json.loads(saved[0])["padding"] is None


def test_tokens_are_mapped_from_their_file_and_not_read_into_memory(tokenizer: Any, fresh_cache: Path) -> None:
    for _ in range(2):
        tokens = encode(ROWS, tokenizer, 64).tokens
        assert isinstance(tokens, np.memmap)
        assert not tokens.flags.writeable


def test_under_a_vocabulary_batches_have_its_numbers_and_padding_keeps_its_own(
    tokenizer: Any, fresh_cache: Path
) -> None:
    rows = encode(ROWS, tokenizer, 64)
    vocabulary = used_vocabulary([rows.tokens], tokenizer, len(tokenizer), tokenizer.pad_token_id)
    plain, numbered = rows[[2, 0]], replace(rows, vocabulary=vocabulary)[[2, 0]]
    assert torch.equal(torch.from_numpy(vocabulary.kept)[numbered["input_ids"]], plain["input_ids"].int())
    padding = plain["attention_mask"] == 0
    assert padding.any()
    assert (numbered["input_ids"][padding] == tokenizer.pad_token_id).all()
    assert numbered["input_ids"].dtype == torch.int64
    both = concatenate({"x": replace(rows, vocabulary=vocabulary), "y": replace(rows, vocabulary=vocabulary)})
    assert torch.equal(both[[2, 0]]["input_ids"], numbered["input_ids"])


def test_whatever_changes_the_tokens_has_its_own_place_in_the_cache(
    tokenizer: Any, dropout_base: Path, fresh_cache: Path
) -> None:
    def stored() -> int:
        return len(list(fresh_cache.rglob("*.npy")))

    encode(ROWS, tokenizer, 64)
    encode(ROWS, tokenizer, 6)
    assert stored() == 2
    encode(Rows(ROWS.ids, [*TEXTS[:3], "other"], ROWS.labels), tokenizer, 64)
    assert stored() == 3
    used = load_tokenizer(dropout_base)
    used(TEXTS, truncation=True, max_length=5, padding=True)
    encode(ROWS, used, 64)
    assert stored() == 3, "of the same content, whatever its folder and what it was asked before: the same tokenizer"
    from mu_lightning.training.pretraining import train_tokenizer

    encode(ROWS, train_tokenizer(TEXTS * 3, 50), 64)
    assert stored() == 4


def test_labels_and_ids_are_not_taken_from_the_cache(tokenizer: Any, fresh_cache: Path) -> None:
    encode(ROWS, tokenizer, 64)
    again = encode(Rows(ROWS.ids, TEXTS, [0, 0, 0, 1]), tokenizer, 64)
    assert again.labels.tolist() == [0, 0, 0, 1]


def test_several_locales_become_one_with_ids_that_stay_unique(tokenizer: Any, fresh_cache: Path) -> None:
    other = Rows(["w", "x"], ["zwei Kilometer", "ein"], [3, 1])
    parts = {"en-US": encode(ROWS, tokenizer, 64), "de-DE": encode(other, tokenizer, 64)}
    both = concatenate(parts)
    assert list(both.ids) == ["en-US/w", "en-US/x", "en-US/y", "en-US/z", "de-DE/w", "de-DE/x"]
    assert both.labels.tolist() == [3, 1, 2, 0, 3, 1]
    for place, (locale, row) in enumerate([("en-US", r) for r in range(4)] + [("de-DE", r) for r in range(2)]):
        assert torch.equal(both[[place]]["input_ids"], parts[locale][[row]]["input_ids"])


def test_one_locale_alone_stays_as_it_is(tokenizer: Any, fresh_cache: Path) -> None:
    rows = encode(ROWS, tokenizer, 64)
    assert concatenate({"en-US": rows}) is rows
