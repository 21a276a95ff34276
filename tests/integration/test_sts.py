"""The command `sts` on made-up pairs laid out as the releases: a base, a member and a merged model in one table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cli import main
from mu_lightning.checkpoints import load_base, load_tokenizer, save_model
from mu_lightning.evaluation.correlation import spearman

# Made up for this test.
SENTENCES = [
    "seven kilometers per hour",
    "seven kilometers an hour",
    "the 3rd of May 1990",
    "May 3rd, 1990",
    "two Albanian leks",
    "a",
]
PAIRS = [
    (first, second, 5.0 - abs(one - other))
    for one, first in enumerate(SENTENCES)
    for other, second in enumerate(SENTENCES)
    if one < other
]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "stsbenchmark"
    folder.mkdir()
    lines = [f"g\tf\ty\t{number}\t{pair[2]}\t{pair[0]}\t{pair[1]}" for number, pair in enumerate(PAIRS)]
    (folder / "sts-test.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = [f'"{first}","{second}",{score}' for first, second, score in reversed(PAIRS)]
    (folder / "stsb-de-test.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def member(tmp_path: Path, tiny_base: Path, corpus: Any) -> Path:
    model = load_base(tiny_base, corpus.label_names, 0)
    with torch.no_grad():
        for layer in model.roberta.encoder.layer:
            layer.output.dense.weight.mul_(-0.5)
    save_model(tmp_path / "member", model, load_tokenizer(tiny_base), {})
    return tmp_path / "member"


def test_bases_and_classifiers_stand_in_one_table_and_in_one_folder(
    release: Path, tiny_base: Path, member: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    models = [str(tiny_base), str(member)]
    argv = ["sts", "--model-path", models[0], "--model-path", models[1], "--locales", "en-US,de-DE"]
    argv += ["--poolings", "mean", "cls", "first-last", "--data-dir", str(release), "--output-dir", str(out)]
    assert main(argv) == 0
    printed = capsys.readouterr().out
    record = json.loads((out / "sts.json").read_text())
    assert [(found["model"], found["locale"], found["pooling"]) for found in record["results"]] == [
        (model, locale, pooling)
        for model in models
        for locale in ("en-US", "de-DE")
        for pooling in ("mean", "cls", "first-last")
    ]
    with np.load(out / "similarities.npz") as arrays:
        for place, found in enumerate(record["results"]):
            assert found["pairs"] == len(PAIRS) == len(arrays[f"ids_{place}"])
            low, high = found["interval"]
            assert low <= found["spearman"] <= high
            assert f"{found['spearman']:.3f}" in printed
            similarities, scores = arrays[f"similarities_{place}"], arrays[f"scores_{place}"]
            assert spearman(similarities, scores) == pytest.approx(found["spearman"])
        # The German file has the same pairs the other way round.
        np.testing.assert_allclose(arrays["similarities_3"], arrays["similarities_0"][::-1], atol=1e-6)
        assert arrays["scores_0"].tolist() == [pair[2] for pair in PAIRS]
    assert len({round(found["spearman"], 6) for found in record["results"][:3]}) == 3
    assert record["results"][0]["spearman"] != record["results"][6]["spearman"]
    assert set(record["fingerprints"]["models"]) == set(models)
    assert main(argv) == 2
    assert "already holds a result" in capsys.readouterr().err


def test_a_similarity_is_the_cosine_of_the_two_sentences_embeddings(
    release: Path, tiny_base: Path, tmp_path: Path
) -> None:
    from transformers import AutoModel

    out = tmp_path / "out"
    assert main(["sts", "--model-path", str(tiny_base), "--data-dir", str(release), "--output-dir", str(out)]) == 0
    tokenizer, model = load_tokenizer(tiny_base), AutoModel.from_pretrained(tiny_base, dtype=torch.float32).eval()
    with torch.inference_mode():
        vectors = {
            text: model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0) for text in SENTENCES
        }
    expected = [torch.cosine_similarity(vectors[one], vectors[other], dim=0).item() for one, other, _ in PAIRS]
    with np.load(out / "similarities.npz") as arrays:
        np.testing.assert_allclose(arrays["similarities_0"], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--locales", "en-US"], "no model is given: set --model-path"),
        (["--model-path", "BASE", "--locales", "sq-AL"], "STS-B has no locale 'sq-AL'"),
        (["--model-path", "nowhere/at/all"], "no model folder at"),
        (["--model-path", "BASE", "--pooling", "cls", "--poolings", "mean"], "are mutually exclusive"),
        (["--model-path", "BASE", "--batch-size", "0"], "--batch-size is 0: expected a number at least 1"),
        (["--model-path", "BASE", "--max-length", "513"], "max_length is 513"),
        (["--model-path", "BASE", "--split", "dev"], "has no stsb-en-dev.csv or sts-dev.csv"),
    ],
)
def test_mistakes_are_said_in_one_line_before_anything_is_computed(
    release: Path, tiny_base: Path, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(tiny_base) if word == "BASE" else word for word in argv]
    assert main(["sts", "--data-dir", str(release), *asked]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
