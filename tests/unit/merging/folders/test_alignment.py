"""Folders that differ in what loading makes up for merge as if they did not, and the plan says what was done."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from mu_lightning.merging.folders.array_merge import suits
from mu_lightning.merging.folders.folder_plan import plan_folders
from mu_lightning.merging.folders.streaming import merge_folders
from mu_lightning.utilities.errors import UserError

Sources = dict[str, Path]
WEIGHTS = {"nl-NL": 0.7, "de-DE": 0.3}


@pytest.fixture
def sources(models_dir: Path, tmp_path: Path) -> Sources:
    return {tag: Path(shutil.copytree(models_dir / f"tiny_small_{tag}", tmp_path / tag)) for tag in WEIGHTS}


def change(folder: Path, tensors: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    """Rewrites a folder's tensors."""
    save_file(tensors(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})


def merged(method: str, sources: Sources, output: Path, **more: object) -> dict[str, Tensor]:
    arguments: dict = {"progress": False, **more}
    return load_file(merge_folders(method, sources, WEIGHTS, output, **arguments) / "model.safetensors")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def shuffled(folder: Path) -> list[int]:
    """Puts a classifier's classes in another order."""
    config = json.loads((folder / "config.json").read_text())
    names = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
    order = random.Random(1).sample(range(len(names)), len(names))
    config["id2label"] = {str(place): names[old] for place, old in enumerate(order)}
    config["label2id"] = {names[old]: place for place, old in enumerate(order)}
    (folder / "config.json").write_text(json.dumps(config))
    head = ("classifier.out_proj.weight", "classifier.out_proj.bias")
    change(folder, lambda state: {**state, **{name: state[name][order].contiguous() for name in head}})
    return order


@pytest.mark.parametrize(("method", "with_base"), [("linear", False), ("task_arithmetic", True), ("ties", True)])
def test_classes_in_another_order_merge_as_in_one(
    method: str, with_base: bool, sources: Sources, tiny_base: Path, tmp_path: Path
) -> None:
    base = {"base": tiny_base} if with_base else {}
    expected = merged(method, sources, tmp_path / "expected", **base)
    shuffled(sources["de-DE"])
    plan = plan_folders(method, sources, WEIGHTS, tmp_path / "out", **base)
    assert suits(plan) is (method != "ties")  # both engines
    assert "classes of de-DE reordered as in nl-NL" in plan.describe()
    assert same(merged(method, sources, tmp_path / "out", **base), expected)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == json.loads((sources["nl-NL"] / "config.json").read_text())["id2label"]


def test_a_buffer_that_loading_ignores_may_lack(sources: Sources, tmp_path: Path) -> None:
    expected = merged("linear", sources, tmp_path / "expected")
    buffer = {"roberta.embeddings.position_ids": torch.arange(66)[None]}
    change(sources["nl-NL"], lambda state: state | buffer)
    assert (
        "left out (ignored by loading): roberta.embeddings.position_ids"
        in plan_folders("linear", sources, WEIGHTS, tmp_path / "out").describe()
    )
    assert same(merged("linear", sources, tmp_path / "out"), expected)
    change(sources["de-DE"], lambda state: state | buffer)
    assert set(merged("linear", sources, tmp_path / "both")) == {*expected, *buffer}


def test_any_other_tensor_may_not(sources: Sources, tmp_path: Path) -> None:
    change(sources["nl-NL"], lambda state: state | {"roberta.embeddings.extra": torch.zeros(3)})
    with pytest.raises(UserError, match=r"de-DE does not have the same tensors as nl-NL: roberta\.embeddings\.extra"):
        plan_folders("linear", sources, WEIGHTS, tmp_path / "out")


def test_names_of_earlier_checkpoints_are_todays(sources: Sources, tmp_path: Path) -> None:
    expected = merged("linear", sources, tmp_path / "expected")

    def former(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    change(sources["nl-NL"], lambda state: {former(name): tensor for name, tensor in state.items()})
    assert any(name.endswith("gamma") for name in load_file(sources["nl-NL"] / "model.safetensors"))
    assert same(merged("linear", sources, tmp_path / "out"), expected)


def _bare(base: Path, folder: Path, pooler: bool) -> Path:
    AutoModel.from_pretrained(base, add_pooling_layer=pooler).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def _masked(base: Path, folder: Path) -> Path:
    AutoModelForMaskedLM.from_pretrained(base).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["bare", "bare with a pooler", "masked language model"])
def test_an_encoder_is_a_base_whatever_stands_on_it(
    kind: str, sources: Sources, tiny_base: Path, tmp_path: Path
) -> None:
    expected = merged("ties", sources, tmp_path / "expected", base=tiny_base)
    base = (
        _masked(tiny_base, tmp_path / "b") if "masked" in kind else _bare(tiny_base, tmp_path / "b", "pooler" in kind)
    )
    names = load_file(base / "model.safetensors")
    assert any(name.startswith("roberta.") for name in names) is ("masked" in kind)
    assert any("pooler" in name for name in names) is ("pooler" in kind)
    plan = plan_folders("ties", sources, WEIGHTS, tmp_path / "out", base=base)
    assert sorted({name.partition(".")[0] for name in plan.job.missing_in_base}) == ["classifier"]
    assert same(merged("ties", sources, tmp_path / "out", base=base), expected)


def test_the_head_of_another_task_is_not_taken_for_the_sources(
    sources: Sources, tiny_base: Path, tmp_path: Path, corpus: object
) -> None:
    from transformers import AutoModelForSequenceClassification

    expected = merged("ties", sources, tmp_path / "expected", base=tiny_base)
    count = len(json.loads((sources["nl-NL"] / "config.json").read_text())["id2label"])
    for labels in (["entailment", "neutral", "contradiction"], [f"intent {place}" for place in range(count)]):
        base = tmp_path / f"base{len(labels)}"
        names = dict(enumerate(labels))
        other = AutoModelForSequenceClassification.from_pretrained(
            tiny_base, id2label=names, label2id={name: place for place, name in names.items()}
        )
        other.save_pretrained(base)
        AutoTokenizer.from_pretrained(tiny_base).save_pretrained(base)
        plan = plan_folders("ties", sources, WEIGHTS, tmp_path / "out", base=base)
        assert "head of the base not used, as it is another one: classifier.*" in plan.describe()
        assert same(merged("ties", sources, tmp_path / f"out{len(labels)}", base=base), expected)


def test_a_base_of_another_size_is_refused(sources: Sources, tiny_base: Path, tmp_path: Path) -> None:
    base = _bare(tiny_base, tmp_path / "base", False)
    name = "encoder.layer.0.attention.self.query.weight"
    change(base, lambda state: {**state, name: torch.zeros(16, 32)})
    with pytest.raises(UserError, match=rf"roberta.{name} has shape \[32, 32\] in nl-NL and \[16, 32\] in the base"):
        plan_folders("ties", sources, WEIGHTS, tmp_path / "out", base=base)
    change(base, lambda state: {key: tensor for key, tensor in state.items() if key != name})
    with pytest.raises(UserError, match=f"the base does not have the same tensors as nl-NL: roberta.{name} missing"):
        plan_folders("ties", sources, WEIGHTS, tmp_path / "out", base=base)
