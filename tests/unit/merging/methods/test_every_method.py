"""What holds for every registered method: shapes, determinism, order, identity, memory like disk, rows left out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mu_lightning.merging.engine import slicing
from mu_lightning.merging.engine.frozen_rows import FrozenRows
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.folders.streaming import merge_folders
from mu_lightning.merging.registry import METHODS
from mu_lightning.utilities.errors import UserError

State = dict[str, torch.Tensor]
LINEAR_LAYERS = ("layer.weight", "head.weight")
NAMES = ["nl-NL", "de-DE", "en-US", "sv-SE"]


def base_state() -> State:
    generator = torch.Generator().manual_seed(0)
    shapes = {"embeddings.weight": (40, 8), "layer.weight": (12, 8), "layer.bias": (12,), "head.weight": (5, 12)}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return state | {"scale": torch.tensor(0.7), "position_ids": torch.arange(6)}


def source_state(seed: int) -> State:
    """The base, changed everywhere but in most rows of the embeddings."""
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: tensor + 0.3 * torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for name, tensor in base_state().items()
    }
    rows = base_state()["embeddings.weight"]
    rows[seed::7] = state["embeddings.weight"][seed::7]
    return state | {"embeddings.weight": rows}


def statistics_of(method: str, name: str) -> State:
    """What the method needs to know of a source: Fisher diagonals, Gram matrices or coefficients."""
    generator = torch.Generator().manual_seed(len(name) + ord(name[0]))
    state = base_state()
    if method == "fisher":
        return {key: torch.rand(tensor.shape, generator=generator) for key, tensor in state.items()}
    if method == "adamerging":
        return {key: torch.rand((), generator=generator) for key in state}
    inputs = {key: torch.randn(30, state[key].shape[1], generator=generator) for key in LINEAR_LAYERS}
    return {key: samples.T @ samples for key, samples in inputs.items()}


def arguments(method: str, names: list[str] | None = None) -> dict[str, Any]:
    """Sources, weights, base and statistics as the method takes them."""
    described = METHODS[method]
    names = (names or NAMES)[: described.max_sources]
    weights = dict(zip(NAMES, (0.4, 0.3, 0.2, 0.1), strict=True))
    return {
        "method": method,
        "sources": {name: source_state(NAMES.index(name) + 1) for name in names},
        "weights": {name: weights[name] for name in names},
        "base": base_state() if described.needs_base else None,
        "statistics": {name: statistics_of(method, name) for name in names} if described.needs_statistics else None,
    }


def assert_same(one: State, other: State, tolerance: float) -> None:
    assert list(one) == list(other)
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=tolerance, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_the_result_is_finite_and_has_the_shapes_of_the_sources(self, method: str) -> None:
        given = arguments(method)
        merged = merge_tensors(**given)
        for name, tensor in given["sources"][NAMES[0]].items():
            assert merged[name].shape == tensor.shape
            assert merged[name].dtype == tensor.dtype
            assert torch.isfinite(merged[name]).all()
        assert any(not torch.equal(merged[name], base_state()[name]) for name in merged)

    def test_it_is_deterministic_and_independent_of_the_order_of_tensors(self, method: str) -> None:
        merged = merge_tensors(**arguments(method), seed=3)
        assert_same(merged, merge_tensors(**arguments(method), seed=3), 0)
        given = arguments(method)
        given["sources"] = {name: dict(reversed(state.items())) for name, state in given["sources"].items()}
        turned = merge_tensors(**given, seed=3)
        assert_same(merged, {name: turned[name] for name in merged}, 0)
        if METHODS[method].random:
            other = merge_tensors(**arguments(method), seed=4)
            assert not torch.equal(other["layer.weight"], merged["layer.weight"])

    def test_the_order_of_the_sources_has_no_effect(self, method: str) -> None:
        names = NAMES[: METHODS[method].max_sources]
        merged = merge_tensors(**arguments(method, names))
        turned = merge_tensors(**arguments(method, names[::-1]))
        if METHODS[method].order_invariant:
            assert_same(merged, turned, 1e-5)
        else:
            assert not torch.equal(merged["layer.weight"], turned["layer.weight"])

    def test_equal_sources_come_back(self, method: str) -> None:
        given = arguments(method)
        same = base_state()
        given["sources"] = dict.fromkeys(given["sources"], same)
        merged = merge_tensors(**given)
        assert METHODS[method].idempotent
        assert_same(merged, same, 1e-6)

    def test_weights_matter_as_far_as_it_says(self, method: str) -> None:
        given = arguments(method)
        merged = merge_tensors(**given)
        given["weights"] = dict(zip(given["weights"], (0.1, 0.6, 0.15, 0.15), strict=False))
        changed = any(not torch.allclose(tensor, merged[name]) for name, tensor in merge_tensors(**given).items())
        single = METHODS[method].max_sources == 1
        assert changed == (METHODS[method].takes_weights and not single)

    def test_pieces_do_not_matter(self, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = merge_tensors(**arguments(method))
        monkeypatch.setattr(slicing, "CHUNK_SIZE", 48)
        assert_same(merge_tensors(**arguments(method)), whole, 1e-6)

    def test_a_missing_base_or_statistic_is_refused(self, method: str) -> None:
        described = METHODS[method]
        if described.needs_base:
            with pytest.raises(UserError, match="needs the base model"):
                merge_tensors(**arguments(method) | {"base": None})
        if described.needs_statistics:
            with pytest.raises(UserError, match="for every source"):
                merge_tensors(**arguments(method) | {"statistics": None})
        if described.min_sources > 1:
            with pytest.raises(UserError, match="needs at least"):
                merge_tensors(**arguments(method, NAMES[:1]))

    def test_folders_give_what_memory_gives(self, method: str, tmp_path: Path) -> None:
        given = arguments(method)

        def write(name: str, state: State) -> Path:
            folder = tmp_path / name
            folder.mkdir()
            save_file(state, folder / "model.safetensors")
            (folder / "config.json").write_text('{"model_type": "toy"}')
            return folder

        folders = {name: write(name, state) for name, state in given.pop("sources").items()}
        base = given.pop("base")
        path = None if base is None else write("base", base)
        output = merge_folders(folders=folders, base=path, output=tmp_path / "merged", progress=False, seed=5, **given)
        expected = merge_tensors(**arguments(method), seed=5)
        found = load_file(output / "model.safetensors")
        assert_same({name: found[name] for name in expected}, expected, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", METHODS)
def test_a_cuda_device_gives_what_the_cpu_gives(method: str) -> None:
    merged = merge_tensors(**arguments(method), device="cuda")
    assert all(tensor.device.type == "cpu" for tensor in merged.values())
    assert_same(merged, merge_tensors(**arguments(method)), 1e-4)


def test_a_registered_name_is_its_method_s_own() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        assert method.url.startswith("https://")
        assert method.paper


TABLE = "embeddings.weight"
KEPT = torch.tensor([0, 1, 2, 5, 8, 9, 15, 16, 17, 18, 20, 27, 30, 33, 39])
UNCHANGED = (0, 20, 27)  # kept rows that no source changed


def lacking_rows(given: dict[str, Any]) -> dict[str, Any]:
    """The same merge of tables that hold the kept rows alone."""

    def rows(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        table = state.get(TABLE)
        return state if table is None or table.dim() == 0 else {**state, TABLE: table[KEPT]}

    return given | {
        "sources": {name: rows(state) for name, state in given["sources"].items()},
        "base": given["base"] and rows(given["base"]),
        "statistics": given["statistics"] and {name: rows(found) for name, found in given["statistics"].items()},
        "frozen_rows": {TABLE: FrozenRows(KEPT, base_state()[TABLE]), "another": FrozenRows(KEPT, base_state()[TABLE])},
    }


def with_a_table(method: str) -> dict[str, Any]:
    """A merge of sources that changed kept rows, some of them each alone and most of them together."""
    given = arguments(method)
    for place, (name, state) in enumerate(given["sources"].items()):
        generator = torch.Generator().manual_seed(place)
        rows = [row for row in KEPT.tolist() if row not in UNCHANGED and row % 9 != place]
        table = base_state()[TABLE]
        table[rows] += 0.3 * torch.randn(len(rows), 8, generator=generator)
        given["sources"][name] = state | {TABLE: table}
    for found in (given["statistics"] or {}).values():
        if TABLE in found and found[TABLE].dim() > 1:
            mask = torch.zeros(40, 1)  # what no text asks for has no Fisher information
            mask[KEPT] = 1
            found[TABLE] *= mask
    return given


@pytest.mark.parametrize("chunk", [slicing.CHUNK_SIZE, 64, 24])
@pytest.mark.parametrize("method", METHODS)
def test_kept_rows_and_all_other_tensors_are_as_in_the_merge_of_whole_ones(
    method: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slicing, "CHUNK_SIZE", chunk)
    for parameters in _variants(method):
        given = with_a_table(method) | {"parameters": parameters, "seed": 3}
        expected, found = merge_tensors(**given), merge_tensors(**lacking_rows(given))
        assert list(found) == list(expected)
        expected[TABLE] = expected[TABLE][KEPT]
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6, msg=lambda text, name=name: name + text)
        assert not torch.allclose(found[TABLE], base_state()[TABLE][KEPT]), "nothing was merged"


def _variants(method: str) -> list[dict[str, Any]]:
    """Parameters under which a method looks at whole tensors in another way."""
    more: dict[str, list[dict[str, Any]]] = {
        "ties": [{"scope": "tensor"}],
        "dare_ties": [{"scope": "tensor"}],
        "fisher": [{"normalize": True}],
        "fisher_simple": [{"importance": "element"}],
        "linear": [{"weighting": "raw"}],
        "nuslerp": [{"along": "rows"}, {"along": "columns"}],
        "ram": [{"boost": 0.1}],
        "passthrough": [{"scale": 0.5}],
    }
    return [{}, *more.get(method, [])]


@pytest.mark.parametrize("method", ["multislerp", "nuslerp"])
def test_a_method_with_a_base_of_choice_merges_task_vectors_too(method: str) -> None:
    given = with_a_table(method) | {"base": base_state()}
    expected, found = merge_tensors(**given), merge_tensors(**lacking_rows(given))
    torch.testing.assert_close(found[TABLE], expected[TABLE][KEPT], rtol=0, atol=1e-6)


def test_what_a_method_learns_from_data_is_never_wanted_of_rows_that_are_left_out() -> None:
    assert [
        name for name, method in METHODS.items() if method.needs_statistics and not method.supports_partial_rows
    ] == []
