"""The data module: train batches side by side, evaluation batches for any locale."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from mu_lightning.data.batching import MIN_EVAL_TOKENS, eval_loader
from mu_lightning.data.encoding import EncodedRows
from mu_lightning.data.module import IntentDataModule

MEMBERS = ("en-US", "de-DE", "nl-NL")


def test_a_step_has_a_batch_of_each_member_until_its_rows_are_over(data_module: Any) -> None:
    data = data_module(MEMBERS)
    steps = list(data.train_dataloader())
    assert data.member_batches() == {"en-US": 8, "de-DE": 5, "nl-NL": 3}
    assert len(steps) == 8
    for name, rows in (("en-US", 61), ("de-DE", 37), ("nl-NL", 21)):
        present = [name in step for step in steps]
        assert present == sorted(present, reverse=True)
        seen = Counter(int(row) for step in steps if name in step for row in step[name]["index"])
        assert seen == Counter(range(rows))


def test_a_member_of_several_locales_reads_them_all(data_module: Any) -> None:
    data = data_module({"west": ("de-DE", "nl-NL")})
    loader = data.member_loader("west")
    assert len(loader.dataset) == 37 + 21
    assert data.member_batches() == {"west": 8}
    assert data.eval_locales == ("de-DE", "nl-NL")


def test_evaluation_covers_each_locale_of_the_members_or_those_named(data_module: Any, corpus: Any) -> None:
    data = data_module(MEMBERS)
    assert tuple(data.eval_loaders("dev")) == MEMBERS
    loaders = data.eval_loaders("test", ["af-ZA"])
    assert tuple(loaders) == ("af-ZA",)
    assert [int(row) for batch in loaders["af-ZA"] for row in np.sort(batch["index"])] != []
    assert sorted(int(row) for batch in loaders["af-ZA"] for row in batch["index"]) == list(range(70))
    named = IntentDataModule(corpus, data.tokenizer, data.settings, {"en-US": ("en-US",)}, eval_locales=["nl-NL"])
    assert named.eval_locales == ("nl-NL",)


@pytest.mark.parametrize(("stage", "split"), [("val", "dev"), ("test", "test"), ("predict", "test")])
def test_each_stage_reads_its_split(data_module: Any, stage: str, split: Any) -> None:
    data = data_module(["nl-NL", "en-US"])
    batches = [(place, batch) for batch, _, place in getattr(data, f"{stage}_dataloader")()]
    assert [place for place, _ in batches] == sorted(place for place, _ in batches)
    for place, locale in enumerate(("nl-NL", "en-US")):
        index = np.concatenate([batch["index"] for at, batch in batches if at == place])
        labels = np.concatenate([batch["labels"] for at, batch in batches if at == place])
        assert labels[np.argsort(index)].tolist() == list(data.rows(locale, split).labels)


def test_evaluation_batches_are_of_one_length_or_small_and_at_most_their_own_size(data_module: Any) -> None:
    data = data_module(MEMBERS, eval_batch_size=6)
    for locale in MEMBERS:
        batches = list(data.eval_loaders("dev")[locale])
        lengths = [batch["attention_mask"].sum(dim=1).tolist() for batch in batches]
        assert sum(lengths, []) == sorted(data.encoded(locale, "dev").lengths)  # noqa: RUF017
        assert max(map(len, lengths)) == 6
        for found, batch in zip(lengths, batches, strict=True):
            assert batch["input_ids"].shape[1] == max(found)
            if found[0] != found[-1]:  # before its last length it had not enough tokens to stand alone
                before = [length for length in found if length < found[-1]]
                assert len(before) * before[-1] < MIN_EVAL_TOKENS


def test_a_large_evaluation_is_hardly_padded() -> None:
    lengths = np.random.default_rng(1).integers(4, 20, size=900)
    tokens = np.zeros(lengths.sum(), dtype=np.int32)
    rows = EncodedRows([str(row) for row in range(900)], lengths, tokens, np.cumsum([0, *lengths]), 1)
    batches = list(eval_loader(rows, 256))
    assert len(batches) == 16
    assert all(bool((batch["attention_mask"] == 1).all()) for batch in batches)


def test_a_limit_chooses_the_same_ids_in_every_locale_whatever_their_order_or_number(data_module: Any) -> None:
    limited, whole = data_module(MEMBERS, limit_train=12), data_module(MEMBERS)
    kept = {name: set(limited.rows(name, "train").ids) for name in MEMBERS}
    assert {len(ids) for ids in kept.values()} == {12}
    # The rows are parallel: an id kept in one locale is kept in each smaller one that has it.
    for large, small in (("en-US", "de-DE"), ("en-US", "nl-NL"), ("de-DE", "nl-NL")):
        shared = set(whole.rows(small, "train").ids) & kept[large]
        assert shared <= kept[small]
        assert shared, "nothing is shared, so nothing was compared"
    assert len(limited.rows("en-US", "dev")) == 45
    everything = data_module(MEMBERS, limit_train=10**6)
    assert everything.rows("en-US", "train").ids == whole.rows("en-US", "train").ids


def test_rows_are_read_and_tokenized_once(data_module: Any) -> None:
    data = data_module(MEMBERS)
    assert data.rows("en-US", "dev") is data.rows("en-US", "dev")
    assert data.encoded("en-US", "dev") is data.encoded("en-US", "dev")


def test_label_counts_are_of_the_train_split(data_module: Any, corpus: Any) -> None:
    counts = data_module(MEMBERS).label_counts("nl-NL")
    assert counts.tolist() == [
        list(corpus.rows("nl-NL", "train").labels).count(label) for label in range(len(corpus.label_names))
    ]
