"""Every registered method over the embedded model: finite, of the right shapes, deterministic, whatever the order."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.registry import METHODS
from mu_lightning.settings import EMBEDDED_BASE
from mu_lightning.utilities.resources import resource

State = dict[str, torch.Tensor]
WEIGHTS = {"nl-NL": 0.5, "de-DE": 0.3, "en-US": 0.2}
EMBEDDINGS = "roberta.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def base() -> State:
    stored = load_file(Path(resource(EMBEDDED_BASE)) / "model.safetensors")
    return {name: tensor.float() for name, tensor in stored.items() if name.startswith("roberta.")}


@pytest.fixture(scope="module")
def sources(base: State) -> dict[str, State]:
    """Three models with heads: changed everywhere, but in 20 rows of the word embeddings only."""
    made = {}
    for seed, name in enumerate(WEIGHTS):
        generator = torch.Generator().manual_seed(seed)
        state = {key: tensor + 0.02 * torch.randn(tensor.shape, generator=generator) for key, tensor in base.items()}
        rows = torch.randint(len(base[EMBEDDINGS]), (20,), generator=generator)
        state[EMBEDDINGS] = base[EMBEDDINGS].clone()
        state[EMBEDDINGS][rows] += 0.02 * torch.randn(20, 128, generator=generator)
        made[name] = state | {"classifier.out_proj.weight": torch.randn(25, 128, generator=generator)}
    return made


def statistic(method: str, name: str, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor | None:
    if method == "fisher":
        return torch.rand(tensor.shape, generator=generator)
    if method == "adamerging":
        return torch.rand((), generator=generator)
    if tensor.dim() != 2 or "embeddings" in name:
        return None
    inputs = torch.randn(200, tensor.shape[1], generator=generator)
    return inputs.T @ inputs / 200


def merge(method: str, sources: dict[str, State], base: State, **more: Any) -> State:
    described = METHODS[method]
    names = list(sources)[: described.max_sources]
    statistics = None
    if described.needs_statistics:
        statistics = {}
        for name in names:
            generator = torch.Generator().manual_seed(len(name) + ord(name[0]))
            found = {key: statistic(method, key, sources[name][key], generator) for key in sorted(sources[name])}
            statistics[name] = {key: each for key, each in found.items() if each is not None}
    return merge_tensors(
        method,
        {name: sources[name] for name in names},
        {name: WEIGHTS[name] for name in names},
        base=base if described.needs_base else None,
        statistics=statistics,
        parameters={"iterations": 20} if method == "wudi" else None,
        seed=7,
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_merged_model_is_whole_and_depends_on_nothing_but_its_sources(
    method: str, sources: dict[str, State], base: State
) -> None:
    merged = merge(method, sources, base)
    for name, tensor in sources["nl-NL"].items():
        assert merged[name].shape == tensor.shape
        assert merged[name].dtype == torch.float32
        assert torch.isfinite(merged[name]).all()
    again = merge(method, {name: dict(reversed(state.items())) for name, state in sources.items()}, base)
    assert all(torch.equal(tensor, again[name]) for name, tensor in merged.items())
    count = METHODS[method].max_sources or 3
    first = dict(list(sources.items())[:count])
    turned = merge(method, dict(reversed(first.items())), base)
    furthest = max((tensor - turned[name]).abs().max().item() for name, tensor in merged.items())
    assert (furthest < 1e-4) == METHODS[method].order_invariant


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].idempotent])
def test_a_model_merged_with_itself_is_itself(method: str, base: State) -> None:
    merged = merge(method, dict.fromkeys(WEIGHTS, base), base)
    for name, tensor in base.items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-4, atol=1e-6)
