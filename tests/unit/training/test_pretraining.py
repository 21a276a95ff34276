"""The small base's parts: a tokenizer that frames as XLM-R does, masking as BERT's, steps that are a pure function."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mu_lightning.commands import pretrain
from mu_lightning.data.cldr import CldrCorpus
from mu_lightning.data.corpus import Rows
from mu_lightning.settings import PretrainSettings
from mu_lightning.training.pretraining import (
    EPOCH_STEPS,
    MaskedBatches,
    Pretraining,
    StepSampler,
    new_model,
    train_tokenizer,
)

LOCALES = ("en-US", "de-DE", "nl-NL")
SETTINGS = PretrainSettings(vocab_size=300, layers=1, hidden_size=16, heads=2, steps=10, batch_size=32)


@pytest.fixture(scope="module")
def rows() -> dict[str, Rows]:
    return {tag: CldrCorpus().rows(tag, "train").select(range(300)) for tag in LOCALES}


@pytest.fixture(scope="module")
def tokenizer(rows: dict[str, Rows]) -> Any:
    return train_tokenizer((text for part in rows.values() for text in part.texts), 300)


@pytest.fixture(scope="module")
def batches(rows: dict[str, Rows], tokenizer: Any) -> MaskedBatches:
    return MaskedBatches(rows, tokenizer, SETTINGS, 0)


def test_the_tokenizer_has_xlm_rs_special_ids_and_framing_and_the_size_asked_for(tokenizer: Any) -> None:
    assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]) == [0, 1, 2, 3, 299]
    assert len(tokenizer) == 300
    one, pair = tokenizer("two hertz")["input_ids"], tokenizer("two", "zwei")["input_ids"]
    assert (one[0], one[-1]) == (0, 2)
    assert pair.count(2) == 3
    assert "token_type_ids" not in tokenizer("two") or not any(tokenizer("two", "zwei")["token_type_ids"])


def test_the_tokenizer_gives_text_back_and_is_the_same_each_time(rows: dict[str, Rows], tokenizer: Any) -> None:
    for text in rows["de-DE"].texts[:50]:
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    again = train_tokenizer((text for part in rows.values() for text in part.texts), 300)
    assert (
        again.backend_tokenizer.to_str()
        == train_tokenizer((text for part in rows.values() for text in part.texts), 300).backend_tokenizer.to_str()
    )


def test_a_model_has_the_size_asked_for_and_is_drawn_from_its_seed(tokenizer: Any) -> None:
    one, same, other = (new_model(tokenizer, SETTINGS, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    key = "roberta.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(one[key], other[key])
    assert one["roberta.embeddings.word_embeddings.weight"].shape == (300, 16)
    assert one["roberta.encoder.layer.0.intermediate.dense.weight"].shape == (64, 16)
    assert not any("layer.1." in name for name in one)


def test_a_steps_batch_is_a_pure_function_of_seed_and_step(
    rows: dict[str, Rows], tokenizer: Any, batches: MaskedBatches
) -> None:
    again = MaskedBatches(rows, tokenizer, SETTINGS, 0)
    later, sooner = again[57], again[3]  # in another order than below
    for step, batch in ((3, sooner), (57, later)):
        assert all(torch.equal(batches[step][key], batch[key]) for key in batch)
    assert not torch.equal(batches[3]["labels"], batches[4]["labels"])
    assert not torch.equal(batches[3]["labels"], MaskedBatches(rows, tokenizer, SETTINGS, 1)[3]["labels"])


def test_what_is_masked_is_bert_recipe(batches: MaskedBatches) -> None:
    kept, masked, chosen_count, eligible_count = 0, 0, 0, 0
    for step in range(60):
        batch = batches[step]
        seen = batch["input_ids"].flatten()[batch["chosen"]]
        kept += int((seen == batch["labels"]).sum())
        masked += int((seen == 299).sum())
        chosen_count += len(seen)
        eligible_count += int((batch["input_ids"] > 2).sum())
        assert bool((batch["labels"] > 2).all()), "neither frame nor padding is ever predicted"
        assert len(seen) % 64 == 0
        assert bool((batch["chosen"].diff() > 0).all())
        untouched = torch.ones(batch["input_ids"].numel(), dtype=torch.bool)
        untouched[batch["chosen"]] = False
        assert not bool((batch["input_ids"].flatten()[untouched] == 299).any())
    assert masked / chosen_count == pytest.approx(0.8, abs=0.02)
    assert kept / chosen_count == pytest.approx(0.1, abs=0.02)
    assert 0.13 < chosen_count / eligible_count <= 0.2


def test_sequences_are_phrases_or_pairs_of_translations(
    rows: dict[str, Rows], tokenizer: Any, batches: MaskedBatches
) -> None:
    texts: dict[str, list[tuple[int, ...]]] = {}
    for part in rows.values():
        for name, text in zip(part.ids, part.texts, strict=True):
            texts.setdefault(name, []).append(tuple(tokenizer(text, add_special_tokens=False)["input_ids"]))
    phrases = {pieces for group in texts.values() for pieces in group}
    translations = {(one, other) for group in texts.values() for one in group for other in group if one is not other}
    pairs = 0
    for step in range(10):
        batch = batches[step]
        whole = batch["input_ids"].clone()
        whole.view(-1)[batch["chosen"]] = batch["labels"]
        for line, attention in zip(whole, batch["attention_mask"], strict=True):
            sequence = tuple(line[attention.bool()].tolist())
            assert (sequence[0], sequence[-1]) == (0, 2)
            parts = " ".join(map(str, sequence[1:-1])).split(" 2 2 ")
            read = [tuple(map(int, part.split())) for part in parts]
            pairs += len(read) == 2
            assert read[0] in phrases if len(read) == 1 else tuple(read) in translations
    # Of the 70 % meant to be pairs, a third draw their own locale and some have no translation among these rows.
    assert 0.2 < pairs / 320 < 0.7


def test_sequences_of_a_batch_are_of_similar_length_and_widths_are_few(batches: MaskedBatches) -> None:
    widths = [batches[step]["input_ids"].shape[1] for step in range(50)]
    assert all(width % 8 == 0 for width in widths)
    filled = np.mean([batches[step]["attention_mask"].float().mean() for step in range(50)])
    assert filled > 0.75
    assert len(set(widths)) > 2


def test_steps_are_counted_over_the_whole_run() -> None:
    sampler = StepSampler()
    assert list(sampler) == list(range(EPOCH_STEPS))
    sampler.set_epoch(3)
    assert list(sampler) == list(range(3 * EPOCH_STEPS, 4 * EPOCH_STEPS))
    assert len(sampler) == EPOCH_STEPS


def test_the_loss_is_the_whole_models_at_the_masked_places(tokenizer: Any, batches: MaskedBatches) -> None:
    module = Pretraining(new_model(tokenizer, SETTINGS, 0).eval(), SETTINGS)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer to log to
    batch = batches[0]
    labels = torch.full((batch["input_ids"].numel(),), -100)
    labels[batch["chosen"]] = batch["labels"]
    with torch.inference_mode():
        expected = module.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=labels.view_as(batch["input_ids"]),
        ).loss
        torch.testing.assert_close(module.training_step(batch, 0), expected)


def test_the_verb_writes_a_base_and_the_same_one_each_time(tmp_path: Path, corpus: Any, monkeypatch: Any) -> None:
    from mu_lightning.checkpoints import load_base, load_tokenizer
    from mu_lightning.data import registry

    monkeypatch.setitem(registry.CORPORA, "cldr", lambda _: corpus)
    size = ["--size.vocab_size=200", "--size.layers=1", "--size.hidden_size=16", "--size.heads=2", "--size.steps=3"]
    for name in ("one", "other"):
        assert pretrain.run(["--output-dir", str(tmp_path / name), *size, "--size.batch_size=16"]) == 0
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"one", "other"}, "its state is left behind"
    model = load_base(tmp_path / "one", corpus.label_names, 0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert len(load_tokenizer(tmp_path / "one")) == model.config.vocab_size == 200
