"""Properties of merging that users rely on: conservation, order, memory, and nothing half-written."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mu_lightning.merging.engine import slicing
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.folders.streaming import merge_folders

SHAPES = {"embeddings.weight": (500, 64), "layer.weight": (64, 64), "layer.bias": (64,)}


def state(seed: int, shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def folder(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path.mkdir(parents=True)
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    (path / "config.json").write_text(json.dumps({"model_type": "toy"}))
    return path


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_model_merged_with_itself_is_itself_bit_for_bit(count: int, tmp_path: Path) -> None:
    model = state(1)
    model["layer.bias"][:4] = torch.tensor([0.0, -0.0, 1e-45, -1e38])
    path = folder(tmp_path / "model", model)
    weights = {f"copy{index}": (index + 1) / 3 for index in range(count)}
    output = merge_folders("linear", dict.fromkeys(weights, path), weights, tmp_path / "out", progress=False)
    assert (output / "model.safetensors").read_bytes() == (path / "model.safetensors").read_bytes()


def test_a_linear_merge_stays_within_its_sources() -> None:
    sources = {name: state(seed) for seed, name in enumerate("abcd")}
    merged = merge_tensors("linear", sources, {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4})
    for name, tensor in merged.items():
        stacked = torch.stack([source[name] for source in sources.values()])
        assert (tensor >= stacked.amin(0) - 1e-6).all()
        assert (tensor <= stacked.amax(0) + 1e-6).all()


def test_all_weight_on_one_source_gives_that_source() -> None:
    sources = {name: state(seed) for seed, name in enumerate("abc")}
    merged = merge_tensors("linear", sources, {"a": 0.0, "b": 1.0, "c": 0.0})
    assert all(torch.allclose(tensor, sources["b"][name], rtol=0, atol=1e-6) for name, tensor in merged.items())


@pytest.mark.parametrize("method", ["linear", "ties", "dare_ties", "breadcrumbs", "karcher", "fisher_simple"])
def test_the_number_of_threads_changes_no_bit(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicing, "CHUNK_SIZE", 1000)
    sources, weights = {name: state(seed) for seed, name in enumerate("abc")}, {"a": 0.5, "b": 0.3, "c": 0.2}
    base, threads, merged = state(9), torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            merged.append(merge_tensors(method, sources, weights, base=base))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(tensor, merged[1][name]) for name, tensor in merged[0].items())


def test_rows_that_no_source_changed_stay_the_base_s_bit_for_bit() -> None:
    base = state(0)
    sources = {name: {key: tensor.clone() for key, tensor in base.items()} for name in "ab"}
    sources["a"]["embeddings.weight"][3] += 1
    sources["b"]["embeddings.weight"][400, 60] += 1
    for method in ("task_arithmetic", "ties", "dare_linear", "della", "model_stock", "sce"):
        merged = merge_tensors(method, sources, {"a": 0.5, "b": 0.5}, base=base)["embeddings.weight"]
        same = (merged == base["embeddings.weight"]).all(1)
        assert same.sum() >= 498
        assert same[[*range(3), *range(4, 400), *range(401, 500)]].all()


MEASURED = """
import json, sys, threading, time
from pathlib import Path
from mu_lightning.merging.folders.streaming import merge_folders

def private():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) / 1e3

root, peak, done = Path(sys.argv[1]), [0.0], threading.Event()

def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], private())

folders = {name: root / name for name in "abc"}
small = merge_folders("ties", {n: root / "small" for n in "abc"}, dict.fromkeys("abc", 1.0), root / "warm",
                      base=root / "small", progress=False)
before = private()
threading.Thread(target=watch, daemon=True).start()
merge_folders("ties", folders, dict.fromkeys(folders, 1.0), root / "out", base=root / "base", progress=False)
done.set()
print(peak[0] - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
def test_memory_stays_below_one_tensor_however_large_the_models(tmp_path: Path) -> None:
    shapes = {"embeddings.weight": (20_000, 768)}  # 61 MB; four models of it are read
    for seed, name in enumerate(("base", "a", "b", "c")):
        folder(tmp_path / name, state(seed, shapes))
    folder(tmp_path / "small", state(0))
    result = subprocess.run([sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 61


INTERRUPTED = """
import sys, time
import cli
from mu_lightning.merging.folders import streaming

def slow(file, chunks):
    for chunk in chunks:
        print("writing", flush=True)
        time.sleep(60)

streaming.write_chunks = slow
sys.exit(cli.main(["merge", "--recipe", sys.argv[1] + "/recipe.yaml", "--output-dir", sys.argv[1] + "/merged/out"]))
"""


@pytest.mark.parametrize("method", ["linear", "ties"])
@pytest.mark.parametrize(
    ("number", "status", "message"),
    [(signal.SIGINT, 130, "interrupted; no partial output was left"), (signal.SIGTERM, 143, "stopped by SIGTERM")],
)
def test_a_signal_leaves_nothing_behind(
    method: str, number: signal.Signals, status: int, message: str, tmp_path: Path
) -> None:
    path = folder(tmp_path / "a", state(1))
    (tmp_path / "recipe.yaml").write_text(f"{{method: {method}, sources: {{a: {path}, b: {path}}}, base: {path}}}")
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert "writing\n" in process.stdout
    assert list((tmp_path / "merged").iterdir())
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert errors.splitlines()[-1] == message
    assert list((tmp_path / "merged").iterdir()) == []


def test_twenty_sources_cost_no_more_than_their_share(tmp_path: Path) -> None:
    shapes = {"layer.weight": (512, 768)}
    sources = {f"s{index}": state(index, shapes) for index in range(20)}
    base, times = state(99, shapes), {}
    for count in (5, 20) * 6:
        chosen = dict(list(sources.items())[:count])
        start = time.process_time()  # a busy machine must not decide
        merge_tensors("ties", chosen, dict.fromkeys(chosen, 1.0), base=base)
        times[count] = min(times.get(count, 1e9), time.process_time() - start)
    assert times[20] < 8 * times[5]  # about 4 on an idle machine (benchmarks/merge.py); a quadratic would be 16


def test_what_was_merged_can_be_merged_again(tmp_path: Path) -> None:
    paths = {name: folder(tmp_path / name, state(seed)) for seed, name in enumerate("ab")}
    first = merge_folders("linear", paths, {"a": 0.5, "b": 0.5}, tmp_path / "first", progress=False)
    second = merge_folders(
        "linear", {"x": first, "b": paths["b"]}, {"x": 0.5, "b": 0.5}, tmp_path / "2", progress=False
    )
    merged = load_file(second / "model.safetensors")
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, 0.25 * state(0)[name] + 0.75 * state(1)[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "della"])
def test_draws_belong_to_a_source_whatever_the_others_changed(method: str) -> None:
    base = state(0)
    sources = {name: {key: tensor.clone() for key, tensor in base.items()} for name in "ab"}
    sources["a"]["embeddings.weight"][100:140] += 1
    alone = merge_tensors(method, sources, {"a": 0.5, "b": 0.5}, base=base)["embeddings.weight"]
    sources["b"]["embeddings.weight"][:50] += 1
    both = merge_tensors(method, sources, {"a": 0.5, "b": 0.5}, base=base)["embeddings.weight"]
    kept = alone[100:140] != base["embeddings.weight"][100:140]
    assert 0 < kept.float().mean() < 1
    assert torch.equal(kept, both[100:140] != base["embeddings.weight"][100:140])


ESTIMATED = """
import json, sys, threading
from pathlib import Path
from mu_lightning.merging.folders.folder_plan import plan_folders
from mu_lightning.merging.folders.streaming import run_plan

def private():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1]) * 1024

root, method, names = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
parameters = {"iterations": 2} if method == "wudi" else {}

def merge(size):
    folders = {name: root / size / name for name in names}
    plan = plan_folders(method, folders, dict.fromkeys(names, 1.0), root / f"{method}_{size}_out",
                        base=root / size / "base", parameters=parameters)
    run_plan(plan, progress=False)
    return plan.peak_memory

merge("small")
before = private()
peak, done = [before], threading.Event()

def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], private())

watching = threading.Thread(target=watch)
watching.start()
estimate = merge("large")
done.set()
watching.join()
print(json.dumps([estimate, peak[0] - before]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
def test_the_planned_memory_is_about_what_a_merge_takes(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    for size, rows in (("small", 64), ("large", 140_000)):
        for name in ("base", *"abc"):
            (tmp_path / size / name).mkdir(parents=True)
            tensors = {"embeddings.weight": torch.randn(rows, 64, generator=generator)}
            save_file(tensors, tmp_path / size / name / "model.safetensors")
            (tmp_path / size / name / "config.json").write_text("{}")
    script = tmp_path / "estimated.py"
    script.write_text(ESTIMATED)
    for method, names in (("ties", "abc"), ("della", "abc"), ("iso_c", "abc"), ("wudi", "abc"), ("nuslerp", "ab")):
        run = subprocess.run(
            [sys.executable, script, tmp_path, method, names], capture_output=True, text=True, check=True, timeout=120
        )
        estimate, measured = json.loads(run.stdout)
        assert estimate == pytest.approx(measured, rel=0.3), method


def test_ties_at_a_real_size_differs_from_an_exact_count_only_where_magnitudes_tie() -> None:
    """Differences of nearly equal float32 numbers are coarse: several magnitudes may equal the threshold's."""
    generator = torch.Generator().manual_seed(11)
    base = {"w": 0.02 * torch.randn(768, 3072, generator=generator)}
    change = [1e-3 * torch.randn(768, 3072, generator=generator) for _ in range(3)]
    sources = {name: {"w": base["w"] + one} for name, one in zip("abc", change, strict=True)}
    parameters = {"density": 0.2, "scope": "tensor"}
    ours = merge_tensors("ties", sources, dict.fromkeys(sources, 1.0), base=base, parameters=parameters)["w"]
    vectors = np.stack([(source["w"] - base["w"]).numpy().ravel() for source in sources.values()])
    count = int(0.2 * vectors.shape[1])
    trimmed, tied = np.zeros(vectors.shape), np.zeros(vectors.shape[1], dtype=bool)
    for vector, kept in zip(vectors, trimmed, strict=True):
        order = np.argsort(-np.abs(vector), kind="stable")
        kept[order[:count]] = vector[order[:count]]
        tied |= np.abs(vector) == np.abs(vector[order[count - 1]])
    agree = trimmed * np.sign(trimmed.sum(0)) > 0
    expected = base["w"].numpy().ravel() + (trimmed * agree).sum(0) / np.maximum(agree.sum(0), 1)
    differs = np.abs(ours.numpy().ravel() - expected) > 1e-6
    assert tied.sum() >= 3
    assert not (differs & ~tied).any()
