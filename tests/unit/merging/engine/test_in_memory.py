"""The engine in memory: what it returns, what it refuses."""

import pytest
import torch

from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.engine.slicing import CHUNK_SIZE
from mu_lightning.utilities.errors import UserError


def state(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"embed": (700, 400), "layer.weight": (6, 5), "layer.bias": (6,), "scalar": ()}
    tensors = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    return tensors | {"position_ids": torch.arange(7)}


SOURCES = {"nl-NL": state(1), "de-DE": state(2), "en-US": state(3)}
WEIGHTS = {"nl-NL": 0.5, "de-DE": 0.3, "en-US": 0.2}


def test_linear_is_the_weighted_sum() -> None:
    assert SOURCES["nl-NL"]["embed"].numel() > CHUNK_SIZE
    merged = merge_tensors("linear", SOURCES, WEIGHTS)
    assert list(merged) == list(SOURCES["nl-NL"])
    for name, tensor in merged.items():
        expected = sum(WEIGHTS[source] * SOURCES[source][name].double() for source in SOURCES)
        assert tensor.dtype == SOURCES["nl-NL"][name].dtype
        torch.testing.assert_close(tensor.double(), torch.as_tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.5], [0.1] * 10, [1 / 3, 1 / 3, 1 / 3], [1.5, -0.5], [0.0, 1.0]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_merging_a_model_with_itself_gives_it_back_bit_for_bit(weights: list[float], dtype: torch.dtype) -> None:
    model = state(4, dtype)
    model["layer.bias"][:3] = torch.tensor([0.0, -0.0, 1e-41]).to(dtype)
    copies = {f"copy{index}": model for index in range(len(weights))}
    merged = merge_tensors("linear", copies, dict(zip(copies, weights, strict=True)))
    for name, tensor in merged.items():
        assert tensor.dtype == model[name].dtype
        assert torch.equal(tensor.reshape(-1).view(torch.uint8), model[name].reshape(-1).view(torch.uint8))


def test_the_sources_are_not_changed() -> None:
    before = {source: {name: tensor.clone() for name, tensor in state.items()} for source, state in SOURCES.items()}
    merge_tensors("linear", SOURCES, WEIGHTS)
    for source, tensors in SOURCES.items():
        assert all(torch.equal(tensor, before[source][name]) for name, tensor in tensors.items())


def test_parameters_that_require_gradients_merge_without_a_graph() -> None:
    sources = {name: dict(torch.nn.Linear(3, 2).named_parameters()) for name in "ab"}
    merged = merge_tensors("linear", sources, {"a": 0.5, "b": 0.5})
    assert not merged["weight"].requires_grad


def broken(**tensors: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
    return SOURCES | {"de-DE": SOURCES["de-DE"] | tensors}


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (broken(scalar=torch.tensor(float("nan"))), "scalar of de-DE contains a NaN"),
        (broken(scalar=torch.tensor(float("inf"))), "scalar of de-DE contains an infinity"),
        (broken(**{"layer.bias": torch.zeros(7)}), r"layer.bias has shape \[6\] in nl-NL and \[7\] in de-DE"),
        (broken(scalar=torch.tensor(1)), "scalar is float32 in nl-NL and int64 in de-DE"),
        (broken(position_ids=torch.arange(7) + 1), "position_ids .*int64.* differs between nl-NL and de-DE"),
        (broken(more=torch.zeros(1)), "de-DE does not have the same tensors as nl-NL: more not in nl-NL"),
        (SOURCES | {"en-US": {}}, "en-US does not have the same tensors .* and 1 more missing"),
    ],
)
def test_sources_that_do_not_fit_are_refused(sources: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        merge_tensors("linear", sources, WEIGHTS)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"nl-NL": 1.0, "de-DE": 1.0}, "no weight for en-US"),
        (WEIGHTS | {"af-ZA": 0.1}, "a weight but no model for af-ZA"),
        (WEIGHTS | {"nl-NL": float("nan")}, "the weight of nl-NL is nan"),
        ({"nl-NL": 1.0, "de-DE": -1.0, "en-US": 0.0}, "sum to 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        merge_tensors("linear", SOURCES, weights)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown merge method 'liner': did you mean linear"):
        merge_tensors("liner", SOURCES, WEIGHTS)
    with pytest.raises(UserError, match="unknown parameter of linear 'weightin': did you mean weighting"):
        merge_tensors("linear", SOURCES, WEIGHTS, parameters={"weightin": "raw"})
    with pytest.raises(UserError, match="unknown value of linear's weighting 'men'"):
        merge_tensors("linear", SOURCES, WEIGHTS, parameters={"weighting": "men"})
    with pytest.raises(UserError, match="at least 1 source, got 0"):
        merge_tensors("linear", {}, {})


def test_raw_weights_are_factors() -> None:
    merged = merge_tensors("linear", SOURCES, dict.fromkeys(SOURCES, 2.0), parameters={"weighting": "raw"})
    expected = 2 * sum(SOURCES[source]["layer.weight"] for source in SOURCES)
    torch.testing.assert_close(merged["layer.weight"], torch.as_tensor(expected))
