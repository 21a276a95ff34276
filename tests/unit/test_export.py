"""An exported model gives the logits of PyTorch, for batches and lengths that were not traced."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mu_lightning import export
from mu_lightning.commands.export import run
from mu_lightning.data.corpus import Corpus
from mu_lightning.utilities.errors import UserError


def test_an_onnx_file_gives_the_same_logits(models_dir: Path, corpus: Corpus, tmp_path: Path) -> None:
    source, folder = models_dir / "tiny_small_nl-NL", tmp_path / "onnx"
    assert run(["--model-path", str(source), "--output-dir", str(folder), "--int8"]) == 0
    texts = list(corpus.rows("nl-NL", "test").texts[:9])
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = AutoModelForSequenceClassification.from_pretrained(source).eval()(**batch).logits.numpy()
    inputs = {name: batch[name].numpy() for name in ("input_ids", "attention_mask")}
    for name, tolerance in (("model.onnx", 1e-4), ("model_int8.onnx", 0.5)):
        (found,) = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"]).run(None, inputs)
        assert np.abs(found - expected).max() <= tolerance
    labels = json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"]
    assert tuple(labels.values()) == corpus.label_names


def test_mistakes_are_refused_and_leave_nothing(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    arguments = ["--model-path", str(models_dir / "tiny_small_nl-NL"), "--output-dir"]
    with pytest.raises(UserError, match="already holds an exported model"):
        run([*arguments, str(tmp_path / "there")])
    monkeypatch.setattr(export, "_difference", lambda *_: 0.1)
    with pytest.raises(UserError, match=r"differ from PyTorch's by 1\.0e-01: not exported"):
        run([*arguments, str(tmp_path / "new")])
    monkeypatch.setattr(export, "PACKAGES", ("no_such_package",))
    with pytest.raises(UserError, match=r"ONNX needs no_such_package: pip install 'mu-lightning\[onnx\]'"):
        run([*arguments, str(tmp_path / "new")])
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
