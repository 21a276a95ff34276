"""Whole commands on other architectures than XLM-R: each works, or is refused in a line before anything is written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, ByT5Tokenizer

from mu_lightning.checkpoints import load_base, load_tokenizer
from mu_lightning.commands.program import main
from mu_lightning.data.encoding import encode, tokenizer_fingerprint
from mu_lightning.models.reading import most_tokens, vocabulary_subset_of, without_weights

Bases = Callable[..., Path]
QUIET = ["--corpus", "small", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
FIT = ["fit", *QUIET, "--data.limit_train", "16", "--batch-size", "8", "--max-epochs", "1", "--data.max_length", "32"]
SCORED = ["--locales", "af-ZA", *QUIET, "--data.max_length", "32"]


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command is refused."""
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "deberta-v2", "modernbert", "gpt2"])
def test_a_base_of_it_is_trained_merged_tested_and_read_by_transformers(kind: str, base_of: Bases, corpus: Any) -> None:
    base = str(base_of(kind))
    sources = ["--locales", "nl-NL,de-DE"]
    assert main([*FIT, *sources, "--base", base, "--models-dir", "models", "--output-dir", "run"]) == 0
    merge = ["merge", "--target-lang", "af-ZA", *sources, "--models-dir", "models", "--output-dir", "merged"]
    assert main([*merge, "--method", "linear"]) == 0
    assert main(["test", "--model-path", "merged", *SCORED, "--output-dir", "scores"]) == 0
    predict = ["predict", "--model-path", "merged", "--corpus", "small", "--locales", "af-ZA", "--device", "cpu"]
    assert main([*predict, "--max-length", "32", "--output-file", "predictions.csv"]) == 0
    # What transformers itself makes of the exported model and tokenizer, a text at a time, without our padding.
    model = AutoModelForSequenceClassification.from_pretrained("merged").eval()
    tokenizer = AutoTokenizer.from_pretrained("merged")
    texts = corpus.rows("af-ZA", "test").texts[:8]
    alone = [model(**tokenizer(text, truncation=True, max_length=32, return_tensors="pt")).logits for text in texts]
    expected = [model.config.id2label[int(logits.argmax())] for logits in alone]
    assert list(pd.read_csv("predictions.csv")["predicted"][:8]) == expected


@pytest.mark.parametrize("kind", ["deberta-v2", "distilbert"])
def test_members_of_it_are_merged_while_they_train(kind: str, base_of: Bases) -> None:
    base = str(base_of(kind))
    assert (
        main([*FIT, "--locales", "nl-NL,de-DE", "--base", base, "--target-lang", "af-ZA", "--output-dir", "run"]) == 0
    )
    AutoModelForSequenceClassification.from_pretrained("run/merged")
    assert [record["committed"] for record in json.loads(Path("run/history.json").read_text())["merges"]] == [True]


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("canine", {}, ["canine", "padding"]),
        ("fnet", {}, ["fnet", "padding"]),
        ("gpt2", {"pad_token_id": None}, ["gpt2", "padding token"]),
        ("bert", {"max_position_embeddings": 30}, ["data.max_length is 32", "bert", "24"]),
        ("gemma", {}, ["gemma", "--model.vocabulary full"]),
        ("bert", {"vocab_size": 200}, ["tokenizer", "200 word embeddings"]),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    kind: str, changes: dict[str, object], words: list[str], base_of: Bases, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused([*FIT, "--locales", "nl-NL,de-DE", "--base", str(base_of(kind, **changes))], capsys)
    assert [word for word in words if word not in line] == []
    assert list(Path().iterdir()) == []


def test_a_tokenizer_without_a_padding_token_is_refused(base_of: Bases, capsys: pytest.CaptureFixture[str]) -> None:
    base = base_of("modernbert")
    config = json.loads((base / "tokenizer_config.json").read_text())
    del config["pad_token"]
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    assert "no padding token" in refused([*FIT, "--locales", "nl-NL", "--base", str(base)], capsys)


def test_adapters_on_an_architecture_that_peft_knows_no_modules_of_name_those_there_are(
    base_of: Bases, capsys: pytest.CaptureFixture[str]
) -> None:
    base = str(base_of("distilbert"))
    line = refused([*FIT, "--locales", "nl-NL,de-DE", "--base", base, "--adapter", "lora"], capsys)
    for word in ("distilbert", "--model.lora.target_modules", "q_lin", "v_lin"):
        assert word in line
    lora = ["--adapter", "lora", "--model.lora.target_modules", '["q_lin", "v_lin"]']
    assert main([*FIT, "--locales", "nl-NL,de-DE", "--base", base, *lora, "--models-dir", "m"]) == 0


def test_lengths_past_a_models_positions_are_refused_at_every_door(
    base_of: Bases, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*FIT, "--locales", "nl-NL,de-DE", "--base", str(base_of("bert")), "--models-dir", "models"]) == 0
    models = ["--models-dir", "models", "--corpus", "small"]
    model = "models/tiny-bert_small_nl-NL"
    for argv in (
        ["test", "--model-path", model, "--locales", "af-ZA", *QUIET, "--data.max_length", "65"],
        ["predict", "--model-path", model, "--locales", "af-ZA", "--corpus", "small", "--max-length", "65"],
        ["ensemble", "--target-lang", "af-ZA", "--locales", "nl-NL,de-DE", *models, "--max-length", "65"],
        ["nxn", *models, "--max-length", "65", "--output-dir", "n"],
    ):
        line = refused(argv, capsys)
        assert "65" in line, argv
        assert "64 tokens" in line, argv
    assert not Path("n").exists()


@pytest.mark.parametrize(
    ("kind", "most"), [("bert", 64), ("distilbert", 64), ("deberta-v2", 64), ("modernbert", 64), ("gpt2", 64)]
)
def test_the_most_tokens_are_the_positions_that_there_are(kind: str, most: int, base_of: Bases) -> None:
    assert most_tokens(without_weights(base_of(kind))) == most


def test_the_most_tokens_of_xlm_r_are_fewer_than_its_table_has_rows(tiny_base: Path) -> None:
    assert most_tokens(without_weights(tiny_base)) == 66 - 2


def test_a_vocabulary_is_cut_only_where_the_answers_stay_the_same(base_of: Bases, corpus: Any) -> None:
    # T5's classifier looks for the end of a text by its id, which is the last one here: renumbered it is not found.
    for kind, trimmed in (("modernbert", True), ("mt5", False)):
        base = base_of(kind)
        model, tokenizer = load_base(base, corpus.label_names, 0), load_tokenizer(base)
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        rows = encode(corpus.rows("nl-NL", "train"), tokenizer, 32)
        words = vocabulary_subset_of(model, [rows], tokenizer, trimmed=True)
        assert words is not None
        assert words.trimmed is trimmed
        changed = (
            [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
            if not trimmed
            else []
        )
        assert changed == []


def test_a_tokenizer_written_in_python_is_told_by_its_files(tmp_path: Path) -> None:
    one, same = (ByT5Tokenizer(extra_ids=3) for _ in range(2))
    assert tokenizer_fingerprint(one) == tokenizer_fingerprint(same)
    assert tokenizer_fingerprint(ByT5Tokenizer(extra_ids=4)) != tokenizer_fingerprint(one)
