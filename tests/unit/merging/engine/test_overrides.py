"""Weights and parameters that differ by tensor name."""

import pytest
import torch

from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.engine.job import Override
from mu_lightning.utilities.errors import UserError

BASE = {"embeddings.w": torch.zeros(4, 3), "layer.0.w": torch.zeros(3, 3), "head.w": torch.zeros(2, 3)}
SOURCES = {
    name: {key: torch.full_like(t, value) for key, t in BASE.items()} for name, value in (("a", 1.0), ("b", 3.0))
}
WEIGHTS = {"a": 0.5, "b": 0.5}


def merged(*overrides: Override, method: str = "linear", **parameters: object) -> dict[str, float]:
    result = merge_tensors(method, SOURCES, WEIGHTS, base=BASE, parameters=parameters, overrides=overrides)
    return {key: tensor.mean().item() for key, tensor in result.items()}


def test_weights_by_pattern() -> None:
    assert merged(Override("head.*", weights={"a": 1, "b": 0})) == {"embeddings.w": 2, "layer.0.w": 2, "head.w": 1}


def test_a_later_override_goes_over_an_earlier_one_and_may_name_some_sources_only() -> None:
    found = merged(Override("*", weights={"a": 0, "b": 1}), Override("layer.[0-3].*", weights={"a": 3}))
    assert found == {"embeddings.w": 3, "layer.0.w": 1.5, "head.w": 3}


def test_parameters_by_pattern() -> None:
    found = merged(
        Override("embeddings.*", parameters={"scaling": 0}),
        Override("head.*", parameters={"weighting": "mean"}),
        method="task_arithmetic",
        scaling=1,
    )
    assert found == {"embeddings.w": 0, "layer.0.w": 4, "head.w": 2}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (Override("had.*", weights={"a": 1}), "no tensor matches the pattern 'had.*'"),
        (Override("head.*", weights={"c": 1}), "a weight but no model for c"),
        (Override("head.*", weights={"a": float("inf")}), "the weight of a is inf"),
        (Override("head.*", parameters={"waiting": 1}), "unknown parameter of linear 'waiting'"),
    ],
)
def test_an_override_that_would_do_nothing_is_refused(override: Override, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("*", r"\*")):
        merged(override)


def test_model_wide_parameters_cannot_be_overridden_by_tensor() -> None:
    with pytest.raises(UserError, match="density applies to the whole model"):
        merged(Override("head.*", parameters={"density": 0.5}), method="ties")
    sources = {name: {key: torch.randn(tensor.shape) for key, tensor in BASE.items()} for name in "ab"}
    own = {"density": 0.5, "scope": "tensor"}
    whole = merge_tensors("ties", sources, WEIGHTS, base=BASE, overrides=[Override("head.*", parameters=own)])
    alone = merge_tensors("ties", sources, WEIGHTS, base=BASE, parameters=own)
    assert torch.equal(whole["head.w"], alone["head.w"])


def test_parameters_by_source() -> None:
    sources = {name: {"w": torch.tensor([1.0, 2.0, 3.0, 4.0])} for name in "ab"}
    found = merge_tensors(
        "ties",
        sources,
        WEIGHTS,
        base={"w": torch.zeros(4)},
        parameters={"density": {"a": 0.25, "b": 0.5}, "consensus": "total", "weighting": "raw"},
    )
    assert found["w"].tolist() == [0, 0, 1.5, 4]
    with pytest.raises(UserError, match="ties's density is given for a: it must be one number"):
        merge_tensors("ties", sources, WEIGHTS, base=BASE, parameters={"density": {"a": 0.25}})
    with pytest.raises(UserError, match=r"scaling is .* it must be of type float"):
        merge_tensors("ties", sources, WEIGHTS, base=BASE, parameters={"scaling": {"a": 0.25, "b": 1.0}})
