"""Whole verbs, one after the other, as a user runs them: sources, merge, ensemble, scores, predictions."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import cli
from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.data.module import IntentDataModule
from mu_lightning.data.registry import open_corpus
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.settings import CorpusSettings, DataSettings

SMALL = ["--data.limit_train", "96", "--trainer.enable_progress_bar", "false"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three source models, made by one `fit`."""
    folder = tmp_path_factory.mktemp("sources")
    arguments = ["fit", "--locales", "nl-NL,de-DE", "en-US", "--max-epochs", "2", *SMALL]
    assert cli.main([*arguments, "--models-dir", str(folder), "--output-dir", str(folder / "run")]) == 0
    return folder


def test_a_dry_run_tells_what_it_would_do_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--models-dir", str(tmp_path / "models"), "--output-dir", str(tmp_path / "run")]
    assert cli.main(["fit", "--locales", "nl-NL,de-DE", "--max-epochs", "2", *where, *SMALL, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "predicted peak memory: " in printed
    assert f"writes the model of de-DE to {tmp_path / 'models' / 'xlm-r-cldr_cldr_de-DE'}" in printed
    assert list(tmp_path.iterdir()) == []


def test_fit_without_a_target_writes_a_source_model_for_each_locale(sources: Path) -> None:
    names = {f"xlm-r-cldr_cldr_{tag}" for tag in ("nl-NL", "de-DE", "en-US")}
    assert names == {path.parent.name for path in sources.glob("*/config.json")}
    for name in names:
        model = AutoModelForSequenceClassification.from_pretrained(sources / name)
        assert model.config.id2label[0] == open_corpus(CorpusSettings()).label_names[0]
        assert AutoTokenizer.from_pretrained(sources / name)("een").input_ids[0] == 0
    results = json.loads((sources / "run" / "results.json").read_text())["results"]
    assert {result["locale"] for result in results} == {"nl-NL", "de-DE", "en-US"}


def test_merge_and_ensemble_find_the_sources_and_test_scores_the_merged_model(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--target-lang", "af-ZA", "--num-languages", "3", "--models-dir", str(sources)]
    merged = tmp_path / "merged"
    assert cli.main(["merge", *common, "--output-dir", str(merged)]) == 0
    assert "nl-NL" in capsys.readouterr().out
    assert cli.main(["ensemble", *common, "--output-dir", str(tmp_path / "votes")]) == 0
    votes = json.loads((tmp_path / "votes" / "results.json").read_text())["results"]
    assert [vote["name"] for vote in votes[:4]] == [
        "ensemble, majority",
        "ensemble, weighted_majority, URIEL",
        "ensemble, soft, URIEL",
        "ensemble, uriel_logits, URIEL",
    ]
    scored = tmp_path / "scored"
    arguments = ["test", "--model-path", str(merged), "--locales", "af-ZA,nl-NL", "--output-dir", str(scored)]
    assert cli.main([*arguments, "--trainer.enable_progress_bar", "false"]) == 0
    results = json.loads((scored / "results.json").read_text())["results"]
    assert [result["locale"] for result in results] == ["af-ZA", "nl-NL"]

    # The folder, read by transformers alone, gives the logits and the accuracy that were scored.
    tokenizer, plain = AutoTokenizer.from_pretrained(merged), AutoModelForSequenceClassification.from_pretrained(merged)
    rows = open_corpus(CorpusSettings()).rows("af-ZA", "test")
    data = IntentDataModule(open_corpus(CorpusSettings()), load_tokenizer(merged), DataSettings())
    classifier = IntentClassifier.from_folder(merged).eval()
    loaders = data.eval_loaders("test", ["af-ZA"])
    for batch in loaders["af-ZA"]:
        texts = [rows.texts[row] for row in batch["index"]]
        encoded = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
        with torch.inference_mode():
            difference = plain(**encoded).logits - classifier(batch)
        assert difference.abs().max() < 1e-5  # other padding, other order of sums: the same to rounding
        with torch.inference_mode():
            same = plain(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        assert (same - classifier(batch)).abs().max() <= 1e-6
    assert evaluate(classifier, loaders)["af-ZA"].accuracy == results[0]["accuracy"]


def test_predict_names_the_intents_that_test_counts(sources: Path, tmp_path: Path) -> None:
    model = sources / "xlm-r-cldr_cldr_nl-NL"
    path = tmp_path / "nl-NL.csv"
    assert cli.main(["predict", "--model-path", str(model), "--locales", "nl-NL", "--output-file", str(path)]) == 0
    table = pd.read_csv(path)
    corpus = open_corpus(CorpusSettings())
    rows = corpus.rows("nl-NL", "test")
    assert list(table["id"]) == list(rows.ids)
    assert list(table["label"]) == [corpus.label_names[label] for label in rows.labels]
    results = json.loads((sources / "run" / "results.json").read_text())["results"]
    expected = next(result["accuracy"] for result in results if result["locale"] == "nl-NL")
    assert np.mean(table["predicted"] == table["label"]) == pytest.approx(expected)


def test_a_multilingual_model_learns_from_all_its_locales(tmp_path: Path) -> None:
    arguments = ["fit", "--locales", "nl-NL,de-DE", "--multilingual", "--max-epochs", "1", *SMALL]
    assert cli.main([*arguments, "--models-dir", str(tmp_path), "--output-dir", str(tmp_path / "run")]) == 0
    assert (tmp_path / "xlm-r-cldr_cldr_multilingual" / "config.json").is_file()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["members"] == {"multilingual": ["nl-NL", "de-DE"]}
    assert set(manifest["fingerprints"]) == {"nl-NL", "de-DE"}


def test_pretrain_is_reproducible_and_what_it_writes_is_a_base(tmp_path: Path) -> None:
    size = {"vocab_size": 9000, "layers": 1, "hidden_size": 16, "heads": 2, "steps": 3, "batch_size": 16}
    flags = [word for name, value in size.items() for word in (f"--size.{name}", str(value))]
    for name in ("one", "two"):
        assert cli.main(["pretrain", "--output-dir", str(tmp_path / name), *flags]) == 0
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert not list(tmp_path.glob(".*"))
    arguments = ["fit", "--base", str(tmp_path / "one"), "--locales", "nl-NL", "--max-epochs", "1", *SMALL]
    assert cli.main([*arguments, "--models-dir", str(tmp_path), "--output-dir", str(tmp_path / "run")]) == 0
    assert (tmp_path / "one_cldr_nl-NL" / "model.safetensors").is_file()
