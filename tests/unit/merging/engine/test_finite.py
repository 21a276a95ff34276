"""A merge's result is finite, or the tensor and the method are named: in memory, in a folder, and in training."""

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.folders.streaming import merge_folders
from mu_lightning.merging.registry import METHODS
from mu_lightning.utilities.errors import NonFiniteError

NAMES = ("a", "b")


def state(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {"layer.weight": (12, 8), "layer.bias": (12,), "scale": ()}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def extremes() -> list[tuple[str, str, float]]:
    """Each method's floating parameters at what is far too large for float32, and for float64."""
    found = []
    for name, method in METHODS.items():
        for field in dataclasses.fields(method.parameters):
            meta = field.metadata
            if meta["kind"] is float and meta["high"] is None and not method.needs_statistics:
                found += [(name, field.name, value) for value in (1e39, 1e308)]
    return found


@pytest.mark.parametrize(("name", "parameter", "value"), extremes())
def test_a_parameter_that_is_too_large_gives_a_finite_model_or_a_line(name: str, parameter: str, value: float) -> None:
    method = METHODS[name]
    sources = {source: state(seed) for seed, source in enumerate(NAMES[: method.max_sources], 1)}
    merged: dict[str, torch.Tensor] = {}
    with suppress(NonFiniteError):  # nothing else may be raised
        merged = merge_tensors(
            name,
            sources,
            dict.fromkeys(sources, 1 / len(sources)),
            base=state(0) if method.sees_base or parameter == "scale" else None,
            parameters={parameter: value},
        )
    assert all(bool(torch.isfinite(tensor).all()) for tensor in merged.values())


@pytest.mark.parametrize(
    ("method", "parameters", "expected"),
    [
        ("task_arithmetic", {"scaling": 1e39}, "the result of task_arithmetic contains a NaN"),
        ("wudi", {"learning_rate": 1e30}, "layer.weight: the result of wudi contains"),
        ("magmax", {"scaling": 1e39}, "the result of magmax overflows"),
        ("ties", {"scaling": 1e308}, "the result of ties overflows"),
    ],
)
def test_a_result_that_is_not_finite_is_named(method: str, parameters: dict[str, Any], expected: str) -> None:
    sources = {name: state(seed) for seed, name in enumerate(NAMES, 1)}
    with pytest.raises(NonFiniteError, match=expected):
        merge_tensors(method, sources, dict.fromkeys(NAMES, 0.5), base=state(0), parameters=parameters)


@pytest.mark.parametrize("weight", [3e38, 1e200])
def test_weights_that_are_too_large_are_named(weight: float) -> None:
    sources = {name: state(seed) for seed, name in enumerate(NAMES, 1)}
    with pytest.raises(NonFiniteError, match="the result of linear"):
        merge_tensors("linear", sources, {"a": weight, "b": 1.0}, parameters={"weighting": "raw"})


def test_nothing_is_written_of_a_merge_that_is_not_finite(models_dir: Path, tiny_base: Path, tmp_path: Path) -> None:
    folders = {tag: models_dir / f"tiny_small_{tag}" for tag in ("nl-NL", "de-DE")}
    for method, parameters in (("task_arithmetic", {"scaling": 1e39}), ("ties", {"scaling": 1e39})):  # both engines
        with pytest.raises(NonFiniteError, match=f"the result of {method}"):
            merge_folders(
                method, folders, dict.fromkeys(folders, 0.5), tmp_path / "out", base=tiny_base, parameters=parameters
            )
        assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_a_mistake_of_ours_is_not_hidden() -> None:
    from mu_lightning.merging.engine.finite import overflow_named

    with pytest.raises(RuntimeError, match="shape"), overflow_named("x", "linear"):
        raise RuntimeError("the shape is wrong")
