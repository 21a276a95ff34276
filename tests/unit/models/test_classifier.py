"""One classifier: from a batch to logits, and through Lightning's loops to the same scores as `evaluate`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mu_lightning.checkpoints import load_base, load_tokenizer, save_model
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.classifier import IntentClassifier


@pytest.fixture
def classifier(corpus: Any, tiny_base: Path) -> IntentClassifier:
    return IntentClassifier(load_base(tiny_base, corpus.label_names, 0))


def test_logits_are_the_models_own_whatever_the_padding(classifier: IntentClassifier, data_module: Any) -> None:
    rows = data_module().encoded("en-US", "dev")
    classifier.eval()
    with torch.inference_mode():
        together = classifier(rows[list(range(16))])
        assert together.shape == (16, len(classifier.label_names))
        for row in range(16):
            batch = rows[[row]]
            length = int(batch["attention_mask"].sum())
            alone = classifier.model(input_ids=batch["input_ids"][:, :length]).logits
            torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)


def test_logits_are_float32_in_half_precision_too(classifier: IntentClassifier, data_module: Any) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert classifier(data_module().encoded("en-US", "dev")[[0]]).dtype == torch.float32


def test_label_names_are_the_corpus_in_order(classifier: IntentClassifier, corpus: Any) -> None:
    assert classifier.label_names == corpus.label_names


@pytest.mark.parametrize(("stage", "split"), [("validate", "dev"), ("test", "test")])
def test_lightnings_loops_score_as_evaluate_does(
    classifier: IntentClassifier, data_module: Any, trainer: Any, stage: str, split: Any
) -> None:
    data = data_module(["de-DE", "nl-NL"])
    expected = evaluate(classifier, data.eval_loaders(split))
    logged = getattr(trainer(1, limit_val_batches=1.0), stage)(classifier, datamodule=data, verbose=False)
    assert tuple(classifier.scores) == ("de-DE", "nl-NL")
    values = {key: value for part in logged for key, value in part.items()}
    prefix = "val" if stage == "validate" else "test"
    for locale, scores in classifier.scores.items():
        found, wanted = scores.summary(), expected[locale].summary()
        error = wanted.pop("calibration_error")
        assert found.pop("calibration_error", None) == (None if stage == "validate" else error)
        assert found == wanted
        assert scores.predictions.tolist() == expected[locale].predictions.tolist()
        assert values[f"{prefix}/accuracy/{locale}"] == pytest.approx(scores.accuracy, abs=1e-6)
        assert values[f"{prefix}/macro_f1/{locale}"] == pytest.approx(scores.macro_f1, abs=1e-6)


def test_predicting_gives_each_rows_place_label_and_probability(
    classifier: IntentClassifier, data_module: Any, trainer: Any
) -> None:
    data = data_module(["nl-NL"])
    parts = trainer(1).predict(classifier, datamodule=data)
    found = {key: torch.cat([part[key] for part in parts]) for key in ("index", "prediction", "confidence")}
    order = found["index"].argsort()
    scores = evaluate(classifier, data.eval_loaders("test"))["nl-NL"]
    assert found["index"][order].tolist() == list(range(70))
    assert found["prediction"][order].tolist() == scores.predictions.tolist()
    assert bool(((found["confidence"] > 1 / 25) & (found["confidence"] <= 1)).all())


def test_a_folder_gives_back_the_classifier_that_was_saved(
    classifier: IntentClassifier, tiny_base: Path, tmp_path: Path, data_module: Any
) -> None:
    save_model(tmp_path / "model", classifier.model, load_tokenizer(tiny_base), {})
    loaded = IntentClassifier.from_folder(tmp_path / "model")
    batch = data_module().encoded("en-US", "dev")[list(range(16))]
    with torch.inference_mode():
        assert torch.equal(loaded.eval()(batch), classifier.eval()(batch))
