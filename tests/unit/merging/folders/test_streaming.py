"""The streaming engine: model folders in, a model folder out."""

import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
)

from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.folders import streaming
from mu_lightning.merging.folders.streaming import merge_folders
from mu_lightning.utilities.errors import UserError

LABELS = {0: "alarm", 1: "music", 2: "weather"}
WEIGHTS = {"nl-NL": 0.5, "de-DE": 0.3, "en-US": 0.2}


def tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<s>", "<pad>", "</s>", "<unk>", "wake", "me", "up"]
    inner = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>")


def save(folder: Path, seed: int, shard: str = "5GB", **changes: object) -> Path:
    torch.manual_seed(seed)
    settings: dict = {
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "id2label": LABELS,
        "label2id": {name: index for index, name in LABELS.items()},
    }
    model = AutoModelForSequenceClassification.from_config(XLMRobertaConfig(**settings | changes))
    model.save_pretrained(folder, max_shard_size=shard)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return {
        "nl-NL": save(tmp_path / "nl", 1),
        "de-DE": save(tmp_path / "de", 2, shard="4KB"),
        "en-US": save(tmp_path / "en", 3),
    }


def states(folders: dict[str, Path]) -> dict[str, dict[str, torch.Tensor]]:
    return {
        name: {key: value for file in sorted(path.glob("*.safetensors")) for key, value in load_file(file).items()}
        for name, path in folders.items()
    }


def test_a_merged_folder_loads_and_holds_what_the_engine_in_memory_gives(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    assert (folders["de-DE"] / "model.safetensors.index.json").is_file()
    output = merge_folders("linear", folders, WEIGHTS, tmp_path / "out" / "merged", progress=False)
    expected = merge_tensors("linear", states(folders), WEIGHTS)
    merged = load_file(output / "model.safetensors")
    assert merged.keys() == expected.keys()
    assert all(torch.equal(merged[name], tensor) for name, tensor in expected.items())
    model, report = AutoModelForSequenceClassification.from_pretrained(output, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.id2label == LABELS
    loaded = model.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in merged.items())
    assert AutoTokenizer.from_pretrained(output)("wake me up")["input_ids"] == [4, 5, 6]


def test_merging_a_folder_with_itself_gives_its_bytes_back(folders: dict[str, Path], tmp_path: Path) -> None:
    copies = dict.fromkeys(("a", "b", "c"), folders["nl-NL"])
    output = merge_folders("linear", copies, {"a": 0.2, "b": 0.3, "c": 0.5}, tmp_path / "out", progress=False)
    before, after = load_file(folders["nl-NL"] / "model.safetensors"), load_file(output / "model.safetensors")
    assert all(after[name].numpy().tobytes() == tensor.numpy().tobytes() for name, tensor in before.items())


def test_large_results_are_sharded(folders: dict[str, Path], tmp_path: Path) -> None:
    output = merge_folders("linear", folders, WEIGHTS, tmp_path / "out", max_shard_size=6000, progress=False)
    assert len(list(output.glob("model-*.safetensors"))) > 2
    model, report = AutoModelForSequenceClassification.from_pretrained(output, output_loading_info=True)
    assert not report["missing_keys"]
    expected = merge_tensors("linear", states(folders), WEIGHTS)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())


def test_the_result_can_have_another_dtype(folders: dict[str, Path], tmp_path: Path) -> None:
    output = merge_folders("linear", folders, WEIGHTS, tmp_path / "out", dtype="bfloat16", progress=False)
    expected = merge_tensors("linear", states(folders), WEIGHTS)
    for name, tensor in load_file(output / "model.safetensors").items():
        assert torch.equal(tensor, expected[name].bfloat16())
    assert json.loads((output / "config.json").read_text())["dtype"] == "bfloat16"


def test_the_card_and_the_details_tell_what_was_merged(folders: dict[str, Path], tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    told = {
        "target": "af-ZA",
        "mode": "similarity",
        "similarities": dict.fromkeys(WEIGHTS, 0.9),
        "origins": {"nl-NL": "org/nl"},
    }
    output = merge_folders("linear", folders, WEIGHTS, tmp_path / "out", progress=False, details=told)
    card = ModelCard.load(output / "README.md")
    assert card.data.base_model == ["org/nl", "de", "en"]
    assert card.data.to_dict()["base_model_relation"] == "merge"
    assert "merge" in card.data.tags
    details = json.loads((output / "merge_details.json").read_text())
    assert [source["weight"] for source in details["sources"]] == list(WEIGHTS.values())
    assert details["target"] == "af-ZA"
    assert details["parameters"] == {"weighting": "mean", "scale": 1.0}
    text = (output / "merge_details.txt").read_text()
    for part in ("Mode: similarity", "1. nl-NL", "Weight: 0.500000 (50.00% of the total)", "Similarity: 0.900000"):
        assert part in text
    assert str(tmp_path) not in text + card.content


def test_an_interrupted_merge_leaves_nothing(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(streaming, "write_report", interrupted)
    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        merge_folders("linear", folders, WEIGHTS, tmp_path / "out", progress=False)
    assert set(tmp_path.iterdir()) == before


def refused(folders: dict[str, Path], tmp_path: Path, message: str, **changes: object) -> None:
    before = set(tmp_path.iterdir())
    arguments: dict = {"method": "linear", "folders": folders, "weights": WEIGHTS, "output": tmp_path / "out"}
    with pytest.raises(UserError, match=message):
        merge_folders(**arguments | changes, progress=False)
    assert set(tmp_path.iterdir()) == before


def test_models_of_other_shapes_labels_or_configs_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    for changes, message in (
        ({"intermediate_size": 64}, r"intermediate.dense.bias has shape \[32\] in nl-NL and \[64\] in en-US"),
        ({"id2label": {0: "alarm", 1: "weather", 2: "lights"}}, "label 1 is 'music' in nl-NL and 'weather' in en-US"),
        ({"num_attention_heads": 4}, "num_attention_heads is 2 in nl-NL and 4 in en-US"),
    ):
        save(folders["en-US"], 3, **changes)
        refused(folders, tmp_path, message)


def test_other_tokenizers_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    file = folders["en-US"] / "tokenizer.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"padding": {"strategy": "BatchLongest"}}, indent=1))
    merge_folders("linear", folders, WEIGHTS, tmp_path / "same", progress=False)
    content["model"]["vocab"]["me"], content["model"]["vocab"]["up"] = 6, 5
    file.write_text(json.dumps(content))
    refused(folders, tmp_path, "tokenizers of nl-NL and en-US differ: the token 'me' has the id 5 in one and 6 in")
    file.write_text("{")
    refused(folders, tmp_path, "tokenizer.json is not valid JSON")
    file.unlink()
    (folders["en-US"] / "tokenizer_config.json").unlink()
    refused(folders, tmp_path, "nl-NL has one, en-US does not")


def test_a_label_map_without_numbers_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    config = folders["en-US"] / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"id2label": {"x": "alarm"}}))
    refused(folders, tmp_path, "id2label of en-US is {'x': 'alarm'}.*class names")


def test_broken_folders_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    refused(folders | {"en-US": tmp_path / "none"}, tmp_path, "no model folder at .*none")
    weights = folders["en-US"] / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    refused(folders, tmp_path, r"model.safetensors \([0-9,]+ bytes\) is not a complete .*not fully covered")
    weights.write_bytes(whole[:20])
    refused(folders, tmp_path, "not a complete safetensors file")
    weights.write_bytes((2).to_bytes(8, "little") + b"[]")
    refused(folders, tmp_path, "not a complete safetensors file: .*JSON")
    weights.write_bytes(whole + b"more")
    refused(folders, tmp_path, "not fully covered")
    weights.unlink()
    refused(folders, tmp_path, "has no model.safetensors")
    (folders["en-US"] / "pytorch_model.bin").write_bytes(b"pickle")
    refused(folders, tmp_path, "pickled weights")
    index = folders["de-DE"] / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"]["classifier.dense.bias"] = "../nl/model.safetensors"
    index.write_text(json.dumps(content))
    refused(folders, tmp_path, "which leaves the folder")


def test_overlapping_tensors_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    weights = folders["en-US"] / "model.safetensors"
    content = weights.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["classifier.dense.bias"]["data_offsets"] = header["classifier.out_proj.bias"]["data_offsets"][:1]
    start = header["classifier.out_proj.bias"]["data_offsets"][0] - 32
    header["classifier.dense.bias"]["data_offsets"] = [start, start + 64]
    text = json.dumps(header).encode()
    weights.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    refused(folders, tmp_path, "invalid offset for tensor")


def test_sources_in_float8_give_a_model_in_float8(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    eight = torch.float8_e4m3fn
    folders = {name: folder for name, folder in folders.items() if (folder / "model.safetensors").is_file()}
    states = {name: load_file(folder / "model.safetensors") for name, folder in folders.items()}
    for name, folder in folders.items():
        states[name] = {key: (tensor / 8).to(eight) for key, tensor in states[name].items()}
        save_file(states[name], folder / "model.safetensors")
    merge_folders("linear", folders, dict.fromkeys(folders, 1 / len(folders)), tmp_path / "merged")
    for key, tensor in load_file(tmp_path / "merged" / "model.safetensors").items():
        mean = torch.stack([state[key].float() for state in states.values()]).mean(0)
        assert tensor.dtype == eight
        assert torch.allclose(tensor.float(), mean, rtol=2**-3, atol=2**-9), key


def test_what_cannot_be_done_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    refused({}, tmp_path, "at least 1 source", weights={})
    refused(folders, tmp_path, "no weight for en-US", weights={"nl-NL": 0.5, "de-DE": 0.5})
    refused(folders, tmp_path, "unknown dtype 'float8'", dtype="float8")
    refused(folders, tmp_path, "already holds", output=folders["nl-NL"])
    state = load_file(folders["en-US"] / "model.safetensors")
    state["classifier.dense.bias"][3] = float("nan")
    from safetensors.torch import save_file

    save_file(state, folders["en-US"] / "model.safetensors")
    refused(folders, tmp_path, "classifier.dense.bias of en-US contains a NaN")
    del state["classifier.dense.bias"]
    save_file(state, folders["en-US"] / "model.safetensors")
    refused(folders, tmp_path, "en-US does not have the same tensors as nl-NL: classifier.dense.bias missing")


def test_progress_of_global_statistics(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, int, int]] = []
    monkeypatch.setattr(streaming._Bar, "statistics", lambda self, *what: heard.append(what))
    base = save(tmp_path / "base", 9)
    merge_folders("ties", folders, WEIGHTS, tmp_path / "model", base=base)
    tensors = len(states(folders)["nl-NL"])
    assert {what for what, _, _ in heard} == {"all tensors"}
    assert [done for _, done, total in heard if total == tensors][:tensors] == list(range(1, tensors + 1))
    heard.clear()
    merge_folders("breadcrumbs", folders, WEIGHTS, tmp_path / "tensor", base=base)
    assert {what for what, _, _ in heard} == set(states(folders)["nl-NL"])


@pytest.mark.parametrize("method", ["linear", "karcher"])  # by NumPy, by torch
@pytest.mark.parametrize("what", ["cut", "removed"])
def test_a_source_that_is_cut_while_it_is_read_is_one_line(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, what: str
) -> None:
    source, write = folders["nl-NL"] / "model.safetensors", streaming.write_chunks

    def cut_and_write(*arguments: object) -> None:
        if source.is_file() and what == "removed":
            source.unlink()
        elif source.is_file():
            os.truncate(source, 4096)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(streaming, "write_chunks", cut_and_write)
    with pytest.raises(UserError, match=r"nl/model.safetensors was cut or removed while it was read"):
        merge_folders(method, folders, WEIGHTS, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_names_are_no_markup_in_the_card(folders: dict[str, Path], tmp_path: Path) -> None:
    name = "x\n\n# heading <script>alert(1)</script> [link](http://x) | cell"
    merge_folders("linear", {name: folders["nl-NL"], "b": folders["en-US"]}, {name: 0.5, "b": 0.5}, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    head, _, rest = card.partition("## Recipe")
    assert "x # heading &lt;script&gt;alert(1)&lt;/script&gt; \\[link\\](http://x) \\| cell" in head
    assert not [line for line in card.splitlines() if line.startswith("# heading")]
    assert yaml.safe_load((tmp_path / "out" / "merge_recipe.yaml").read_text())["sources"].keys() == {name, "b"}
    assert rest.count("```") == 2
