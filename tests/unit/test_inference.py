"""Answers are what transformers computes, in order, whatever the windows, batches and votes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from mu_lightning import inference
from mu_lightning.data.corpus import Corpus
from mu_lightning.evaluation.calibration import Calibration
from mu_lightning.inference import load, load_ensemble
from mu_lightning.models.votes import VOTES
from mu_lightning.utilities.errors import UserError


@pytest.fixture(scope="module")
def texts(corpus: Corpus) -> list[str]:
    return [*corpus.rows("nl-NL", "test").texts[:40], "", "x" * 300, "weck mich um fünf, bitte"]


@torch.inference_mode()
def reference(folder: Path, texts: list[str], max_length: int) -> torch.Tensor:
    """The probabilities by transformers alone, a text at a time."""
    model, tokenizer = AutoModelForSequenceClassification.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    rows = [tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt") for text in texts]
    return torch.cat([torch.softmax(model.eval()(**row).logits, -1) for row in rows])


def test_it_gives_the_probabilities_of_transformers_in_order(
    models_dir: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "WINDOW", 16)
    predictor = load(models_dir / "tiny_small_nl-NL")
    expected = reference(models_dir / "tiny_small_nl-NL", texts, predictor.max_length)
    found = predictor.predict(texts, top_k=3, batch_size=5)
    assert [one.text for one in found] == texts
    values, places = expected.topk(3)
    assert [one.labels for one in found] == [tuple(predictor.label_names[at] for at in row) for row in places.tolist()]
    assert torch.allclose(torch.tensor([one.probabilities for one in found]), values, atol=1e-5)
    assert (found[0].label, found[0].probability) == (found[0].labels[0], found[0].probabilities[0])


def test_a_stored_temperature_flattens_the_probabilities(models_dir: Path, texts: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(models_dir / "tiny_small_nl-NL", folder)
    plain = load(folder).probabilities(texts)
    Calibration(2.0, ("nl-NL",), 45, 0.2, 0.1).write(folder)
    expected = torch.softmax(plain.log() / 2, -1)
    assert torch.allclose(load(folder).probabilities(texts), expected, atol=1e-5)


def test_texts_are_read_as_they_are_asked_for(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "WINDOW", 10)
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"text {taken}"

    answers = load(models_dir / "tiny_small_nl-NL").stream(endless())
    assert [next(answers).text for _ in range(12)] == [f"text {number}" for number in range(1, 13)]
    assert taken == 20


@pytest.mark.parametrize("vote", VOTES)
def test_an_ensemble_votes_as_its_members_answer(models_dir: Path, texts: list[str], vote: str) -> None:
    folders = [models_dir / f"tiny_small_{tag}" for tag in ("de-DE", "en-US", "nl-NL")]
    predictor = load_ensemble(folders, vote, [2, 1, 1])
    members = torch.stack([reference(folder, texts, predictor.max_length) for folder in folders])
    weights = torch.tensor([0.5, 0.25, 0.25])
    found = predictor.probabilities(texts)
    assert torch.allclose(found.sum(-1), torch.ones(len(texts)))
    expected = VOTES[vote](members.log(), weights)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))
    if vote == "soft":
        assert torch.allclose(found, torch.einsum("m,mbc->bc", weights, members), atol=1e-5)


def test_a_model_folder_works_in_transformers_pipeline(models_dir: Path, texts: list[str]) -> None:
    folder = models_dir / "tiny_small_en-US"
    classify = pipeline("text-classification", model=str(folder))
    found = load(folder).predict(texts[:5])
    assert [one["label"] for one in classify(texts[:5])] == [one.label for one in found]


def test_what_cannot_answer_is_refused(models_dir: Path, tiny_base: Path, tmp_path: Path) -> None:
    folder = models_dir / "tiny_small_en-US"
    with pytest.raises(UserError, match="is not a trained classifier"):
        load(tiny_base)
    with pytest.raises(UserError, match="no model folder at"):
        load(tmp_path / "none")
    with pytest.raises(UserError, match=r"supports at most 64 tokens"):
        load(folder, max_length=65)
    with pytest.raises(UserError, match="is named twice"):
        load_ensemble([folder, folder])
    with pytest.raises(UserError, match="2 weights are given for 1 models"):
        load_ensemble([folder], weights=[1, 1])
    predictor = load(folder)
    with pytest.raises(UserError, match="a list of texts, not one text"):
        predictor.predict("one text")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a text to classify is int"):
        predictor.predict(["a", 7])  # type: ignore[list-item]
    with pytest.raises(UserError, match="top_k is 0"):
        predictor.predict(["a"], top_k=0)
    assert predictor.predict([]) == []
