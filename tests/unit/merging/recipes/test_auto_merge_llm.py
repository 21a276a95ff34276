"""The optional engine: its results beside ours where the library is installed, a clear error where it is not."""

import sys

import pytest
import torch

from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.recipes.auto_merge_llm import through_library
from mu_lightning.utilities.errors import UserError

GENERATOR = torch.Generator().manual_seed(4)
SHAPES = {"matrix": (30, 20), "bias": (25,)}
BASE = {name: torch.randn(shape, generator=GENERATOR) for name, shape in SHAPES.items()}
SOURCES = {
    source: {name: tensor + 0.3 * torch.randn(tensor.shape, generator=GENERATOR) for name, tensor in BASE.items()}
    for source in "abc"
}
EQUAL = dict.fromkeys("abc", 1 / 3)


@pytest.mark.parametrize(
    ("method", "weights", "parameters"),
    [
        ("linear", {"a": 0.5, "b": 0.3, "c": 0.2}, {}),
        ("slerp", {"a": 0.7, "b": 0.3}, {}),
        ("task_arithmetic", EQUAL, {"scaling": 0.3}),
        ("ties", EQUAL, {"scope": "tensor", "density": 0.2}),
        ("model_stock", EQUAL, {}),
        ("passthrough", {"a": 1.0}, {"scale": 0.5}),
    ],
)
def test_it_gives_what_ours_gives(method: str, weights: dict[str, float], parameters: dict[str, object]) -> None:
    pytest.importorskip("auto_merge_llm.methods")
    sources = {name: SOURCES[name] for name in weights}
    theirs = merge_tensors(through_library(method), sources, weights, base=BASE, parameters=parameters)
    ours = merge_tensors(method, sources, weights, base=BASE, parameters=parameters)
    for name, tensor in ours.items():
        differing = int(((tensor - theirs[name]).abs() > 1e-5).sum())
        assert differing <= (len(sources) if method == "ties" else 0)  # its TIES keeps one element more of each source


def test_what_it_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="not karcher"):
        through_library("karcher")
    monkeypatch.setitem(sys.modules, "auto_merge_llm", None)
    monkeypatch.setitem(sys.modules, "auto_merge_llm.methods", None)
    with pytest.raises(UserError, match="needs auto-merge-llm"):
        through_library("linear")


def test_it_has_no_weights_for_task_vectors() -> None:
    pytest.importorskip("auto_merge_llm.methods")
    with pytest.raises(UserError, match="equal weights only"):
        merge_tensors(through_library("task_arithmetic"), SOURCES, {"a": 0.5, "b": 0.3, "c": 0.2}, base=BASE)
    with pytest.raises(UserError, match="scope tensor only, not model"):
        merge_tensors(through_library("ties"), SOURCES, EQUAL, base=BASE)
