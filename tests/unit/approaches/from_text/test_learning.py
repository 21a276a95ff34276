"""What merges learn from texts is kept between them, and learned again where it is not what was kept."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mu_lightning.approaches.evaluation_context import EvaluationContext, Scoring, prepare
from mu_lightning.approaches.from_text.learning import LearningTask


@pytest.fixture
def context(models_dir: Path) -> EvaluationContext:
    found = prepare(Scoring("small"), {"nl-NL": models_dir / "tiny_small_nl-NL"}, ["af-ZA"])
    return replace(found, texts={(tag, 9): rows for tag, rows in found.rows.items()})


def test_what_was_learned_is_kept_and_learned_again_where_it_was_changed(
    context: EvaluationContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = LearningTask("key", "regmean", "nl-NL", "nl-NL", (("af-ZA", 9),), 0, tmp_path)
    first = {name: tensor.clone() for name, tensor in task.run(context).load().items()}
    path = tmp_path / "key.safetensors"
    content = path.read_bytes()
    for changed in (content[:-400] + bytes(400), content[: len(content) // 2], b""):
        path.write_bytes(changed)
        again = task.run(context).load()
        assert again.keys() == first.keys()
        assert all(torch.equal(again[name], first[name]) for name in first)
    assert path.read_bytes() == content
    monkeypatch.setattr(LearningTask, "_learn", None)
    assert task.run(context).load().keys() == first.keys()
