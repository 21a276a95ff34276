"""Folders merged without torch: the same bytes as with it, the same refusals, and torch not imported."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mu_lightning.merging.engine import slicing
from mu_lightning.merging.engine.job import Override
from mu_lightning.merging.engine.unchanged import changed_rows
from mu_lightning.merging.folders import array_merge, mapped_bytes, streaming
from mu_lightning.merging.folders.array_merge import ArrayMerge
from mu_lightning.merging.folders.folder_plan import plan_folders
from mu_lightning.merging.folders.streaming import merge_folders
from mu_lightning.merging.registry import METHODS
from mu_lightning.utilities.errors import UserError

WEIGHTS = {"nl-NL": 0.5, "de-DE": 0.3, "en-US": 0.2}
# Every method that says it is written in operators.
OPERATORS = [name for name, method in METHODS.items() if method.numpy_compatible]
SHAPES = {"embeddings": (60, 8), "layer.weight": (3, 40), "layer.bias": (70,), "scale": (), "empty": (0, 4)}


def state(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in SHAPES.items()}
    return tensors | {"ids": torch.arange(5), "used": torch.tensor([True, False])}


def folder(path: Path, tensors: Mapping[str, torch.Tensor]) -> Path:
    path.mkdir()
    (path / "config.json").write_text("{}")
    save_file(dict(tensors), path / "model.safetensors")
    return path


def folders(
    root: Path, dtypes: tuple[torch.dtype, ...] = (torch.float32,) * 3
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Path]]:
    """Three sources that share most rows of their embeddings with the base, and that base."""
    states = {name: state(seed, dtype) for seed, (name, dtype) in enumerate(zip(WEIGHTS, dtypes, strict=True), 1)}
    base = state(0)
    for seed, tensors in enumerate(states.values()):
        tensors["embeddings"][seed + 3 :] = base["embeddings"][seed + 3 :].to(tensors["embeddings"])
    states["base"] = {name: tensor for name, tensor in base.items() if not name.startswith("layer")}
    return states, {name: folder(root / name, tensors) for name, tensors in states.items()}


def merged(
    method: str, paths: Mapping[str, Path], output: Path, monkeypatch: pytest.MonkeyPatch, **asked: Any
) -> dict[str, torch.Tensor]:
    """The merge by arrays, after it was compared with the merge by tensors."""
    sources = {name: path for name, path in paths.items() if name != "base"}
    asked = {"base": paths["base"], "progress": False, **asked}
    used: list[str] = []
    chunks = ArrayMerge.chunks
    with monkeypatch.context() as patch:
        patch.setattr(ArrayMerge, "chunks", lambda self, name: [used.append(name), chunks(self, name)][1])
        fast = merge_folders(method, sources, WEIGHTS, output / "arrays", **asked)
    assert set(used) == {*SHAPES, "ids", "used"}
    with monkeypatch.context() as patch:
        patch.setattr(array_merge, "suits", lambda plan: False)
        slow = merge_folders(method, sources, WEIGHTS, output / "tensors", **asked)
    files = sorted(path.name for path in fast.glob("*.safetensors"))
    assert files == sorted(path.name for path in slow.glob("*.safetensors"))
    for name in (*files, "config.json"):
        assert (fast / name).read_bytes() == (slow / name).read_bytes()
    return {name: tensor for file in files for name, tensor in load_file(fast / file).items()}


@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
@pytest.mark.parametrize("asked", [{}, {"dtype": "float16"}, {"dtype": "float64"}, {"max_shard_size": 900}], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_arrays_give_what_tensors_give(
    method: str, asked: dict[str, Any], threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicing, "CHUNK_SIZE", 32)
    monkeypatch.setattr(array_merge, "thread_count", lambda: threads)
    states, paths = folders(tmp_path)
    found = merged(method, paths, tmp_path, monkeypatch, **asked)
    double = {name: {key: tensor.double() for key, tensor in tensors.items()} for name, tensors in states.items()}
    for name in SHAPES:
        expected = sum(weight * double[source][name] for source, weight in WEIGHTS.items())
        if method == "task_arithmetic" and name in double["base"]:
            expected = double["base"][name] + 0.4 * 3 * (expected - double["base"][name])
        close = 1e-3 if asked.get("dtype") == "float16" else 1e-6
        torch.testing.assert_close(found[name].double(), expected, rtol=close, atol=close)


@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.float16, torch.float16, torch.float16),
        (torch.float16, torch.float32, torch.float16),
        (torch.float64, torch.float32, torch.float16),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", OPERATORS)
def test_sources_may_have_other_dtypes(
    method: str, dtypes: tuple[torch.dtype, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = merged(method, folders(tmp_path, dtypes)[1], tmp_path, monkeypatch)
    assert found["embeddings"].dtype == max(dtypes, key=lambda dtype: dtype.itemsize)


@pytest.mark.parametrize("method", OPERATORS)
def test_overrides_count(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states, paths = folders(tmp_path)
    override = Override("layer.*", {"nl-NL": 1.0, "de-DE": 0.0, "en-US": 0.0}, {"weighting": "raw"})
    found = merged(method, paths, tmp_path, monkeypatch, overrides=[override])
    assert torch.equal(found["layer.weight"], states["nl-NL"]["layer.weight"])


def test_rows_that_no_source_changed_are_the_base_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states, paths = folders(tmp_path)
    found = merged("task_arithmetic", paths, tmp_path, monkeypatch)
    assert torch.equal(found["embeddings"][5:], states["base"]["embeddings"][5:])
    assert not torch.equal(found["embeddings"][:3], states["base"]["embeddings"][:3])


@pytest.mark.parametrize("way", [True, False], ids=["arrays", "tensors"])
@pytest.mark.parametrize(
    ("method", "name", "place", "value", "message"),
    [
        ("task_arithmetic", "embeddings", (59, 7), float("inf"), "embeddings of de-DE contains an infinity"),
        ("linear", "layer.bias", 69, float("nan"), "layer.bias of de-DE contains a NaN"),
        ("linear", "embeddings", (59, 7), float("-inf"), "embeddings of de-DE contains an infinity"),
        ("task_arithmetic", "embeddings", (0, 0), float("nan"), "embeddings of de-DE contains a NaN"),
        ("linear", "ids", 0, 7, r"ids \(int64\) differs between nl-NL and de-DE: .* not averaged"),
        ("linear", "scale", (), 1e6, "scale overflows float16: use bfloat16"),
    ],
)
def test_what_is_broken_is_refused(
    way: bool, method: str, name: str, place: Any, value: float, message: str, tmp_path: Path, monkeypatch: Any
) -> None:
    states, paths = folders(tmp_path)
    states["de-DE"][name][place] = value
    save_file(states["de-DE"], paths["de-DE"] / "model.safetensors")
    if not way:
        monkeypatch.setattr(array_merge, "suits", lambda plan: False)
    base = paths.pop("base")
    with pytest.raises(UserError, match=message):
        merge_folders(method, paths, WEIGHTS, tmp_path / "out", base=base, dtype="float16", progress=False)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("way", [True, False], ids=["arrays", "tensors"])
@pytest.mark.parametrize(("value", "said"), [(float("nan"), "a NaN"), (float("inf"), "an infinity")])
def test_a_row_that_is_broken_in_all_models_is_refused(
    way: bool, value: float, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, paths = folders(tmp_path)
    for name, path in paths.items():
        states[name]["embeddings"][40] = value
        save_file(states[name], path / "model.safetensors")
    if not way:
        monkeypatch.setattr(array_merge, "suits", lambda plan: False)
    base = paths.pop("base")
    with pytest.raises(UserError, match=f"embeddings of nl-NL contains {said}"):
        merge_folders("task_arithmetic", paths, WEIGHTS, tmp_path / "out", base=base, progress=False)


@pytest.mark.parametrize("changed", [0, 1, 40, 50, 60])
def test_changed_rows_are_found_in_tensors_as_in_arrays(changed: int) -> None:
    base = state(0)["embeddings"]
    sources = [base.clone(), base.clone()]
    sources[1][:changed, -1] += 1
    found = changed_rows(sources, base)
    arrays = changed_rows([source.numpy() for source in sources], base.numpy())
    if changed > 45:  # most changed: not worth it
        assert found is None
        assert arrays is None
    else:
        assert found.tolist() == arrays.tolist() == [row < changed for row in range(60)]


def test_large_values_whose_sum_overflows_are_no_infinities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states, paths = folders(tmp_path)
    for name in WEIGHTS:
        states[name]["layer.bias"].fill_(3e38)
        save_file(states[name], paths[name] / "model.safetensors")
    assert torch.equal(merged("linear", paths, tmp_path, monkeypatch)["layer.bias"], states["nl-NL"]["layer.bias"])


def test_few_files_are_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_bytes, "_MOST_FILES", 2)
    merged("linear", folders(tmp_path)[1], tmp_path, monkeypatch)


@pytest.mark.parametrize(("method", "asked"), [("ties", {}), ("linear", {"dtype": "bfloat16"}), ("slerp", {})], ids=str)
def test_what_needs_torch_is_left_to_it(method: str, asked: dict[str, Any], tmp_path: Path) -> None:
    paths = folders(tmp_path)[1]
    base, sources = paths.pop("base"), dict(list(paths.items())[: 2 if method == "slerp" else 3])
    weights = {name: WEIGHTS[name] for name in sources}
    assert not array_merge.suits(plan_folders(method, sources, weights, tmp_path / "out", base=base, **asked))
    assert array_merge.suits(plan_folders("linear", sources, weights, tmp_path / "out", base=base, device="cpu"))


WITHOUT_TORCH = """
import sys
import cli
status = cli.main(sys.argv[1:])
heavy = sorted({"torch", "transformers", "huggingface_hub", "pandas", "scipy"} & set(sys.modules))
raise SystemExit(f"status {status}, imported {heavy}" if status or heavy else 0)
"""


@pytest.mark.parametrize("method", OPERATORS)
@pytest.mark.parametrize("flags", [[], ["--dry-run"]], ids=str)
def test_the_verb_merges_without_importing_torch(method: str, flags: list[str], tmp_path: Path) -> None:
    paths = folders(tmp_path)[1]
    lines = [f"method: {method}", f"base: {paths.pop('base')}", "sources:"]
    (tmp_path / "recipe.yaml").write_text("\n".join([*lines, *(f"  {name}: {paths[name]}" for name in WEIGHTS), ""]))
    command = ["merge", "--recipe", str(tmp_path / "recipe.yaml"), "--output-dir", str(tmp_path / "out"), *flags]
    root = str(Path(streaming.__file__).parents[3])
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *command], capture_output=True, text=True, cwd=root, check=False
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out").is_dir() == (not flags)
