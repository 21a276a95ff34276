"""The scale of the merged task vector: in memory, streamed by NumPy and torch, with frozen rows, and by pattern."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.engine.job import Override, needs_base
from mu_lightning.merging.folders.array_merge import suits
from mu_lightning.merging.folders.folder_plan import plan_folders
from mu_lightning.merging.folders.streaming import merge_folders
from mu_lightning.merging.registry import METHODS
from mu_lightning.utilities.errors import UserError

State = dict[str, torch.Tensor]
SHAPES = {"roberta.embeddings.weight": (30, 8), "roberta.layer.weight": (8, 8), "classifier.weight": (3, 8)}
SCALABLE = [name for name, method in METHODS.items() if method.scalable]


def state(seed: int, names: tuple[str, ...] = tuple(SHAPES)) -> State:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(SHAPES[name], generator=generator) for name in names}


BASE = state(0)
ENCODER = {name: tensor for name, tensor in BASE.items() if name.startswith("roberta")}


def given(method: str, count: int = 3) -> dict[str, Any]:
    described = METHODS[method]
    names = ["a", "b", "c"][: described.max_sources or count]
    sources = {name: {key: BASE[key] + 0.3 * t for key, t in state(ord(name)).items()} for name in names}
    statistics = None
    if method == "fisher":
        statistics = {name: {key: t.abs() for key, t in state(ord(name) + 1).items()} for name in names}
    elif described.needs_statistics:
        statistics = {name: {key: t.T @ t for key, t in state(ord(name) + 1).items()} for name in names}
    weights = dict(zip(names, (0.5, 0.3, 0.2), strict=False))
    return {"method": method, "sources": sources, "weights": weights, "statistics": statistics}


@pytest.mark.parametrize("method", SCALABLE)
@pytest.mark.parametrize("scale", [1.6, 0.5, 0.0])
def test_the_encoders_task_vector_is_scaled_and_the_head_is_left(method: str, scale: float) -> None:
    plain = merge_tensors(**given(method), base=ENCODER)
    found = merge_tensors(**given(method), base=ENCODER, parameters={"scale": scale})
    for name, tensor in plain.items():
        expected = BASE[name] + scale * (tensor - BASE[name]) if name in ENCODER else tensor
        torch.testing.assert_close(found[name], expected, rtol=0, atol=2e-6)
    # A base with a head gives the same: in training, members start from a head, too.
    whole = merge_tensors(**given(method), base=BASE, parameters={"scale": scale})
    if not METHODS[method].sees_base:
        assert torch.equal(whole["classifier.weight"], plain["classifier.weight"])
    assert torch.equal(whole["roberta.layer.weight"], found["roberta.layer.weight"])


def test_a_scale_of_1_changes_no_bit_and_needs_no_base() -> None:
    plain = merge_tensors(**given("linear"))
    found = merge_tensors(**given("linear"), parameters={"scale": 1})
    assert all(torch.equal(found[name], plain[name]) for name in plain)


def write(folder: Path, tensors: State) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "toy"}')
    return folder


@pytest.mark.parametrize(("dtype", "by_numpy"), [(torch.float32, True), (torch.float16, True), (torch.bfloat16, False)])
def test_streaming_gives_what_memory_gives(tmp_path: Path, dtype: torch.dtype, by_numpy: bool) -> None:
    arguments = given("linear")
    sources = {name: {key: t.to(dtype) for key, t in one.items()} for name, one in arguments["sources"].items()}
    folders = {name: write(tmp_path / name, one) for name, one in sources.items()}
    base = write(tmp_path / "base", ENCODER)
    overrides = (Override("*embeddings*", parameters={"scale": 0.7}),)
    common = {"weights": arguments["weights"], "parameters": {"scale": 1.6}, "overrides": overrides}
    plan = plan_folders("linear", folders, output=tmp_path / "merged", base=base, **common)
    assert suits(plan) == by_numpy
    merge_folders("linear", folders, output=tmp_path / "merged", base=base, progress=False, **common)
    memory = merge_tensors("linear", sources, base=ENCODER, **common)
    for name, tensor in load_file(tmp_path / "merged" / "model.safetensors").items():
        assert torch.equal(tensor, memory[name].to(dtype)), name


def test_parts_of_the_model_have_their_own_scale() -> None:
    overrides = [Override("*embeddings*", parameters={"scale": 2}), Override("classifier.*", parameters={"scale": 0})]
    plain = merge_tensors(**given("linear"))
    found = merge_tensors(**given("linear"), base=BASE, parameters={"scale": 0.5}, overrides=overrides)
    for name, scale in zip(SHAPES, (2, 0.5, 0), strict=True):
        torch.testing.assert_close(found[name], BASE[name] + scale * (plain[name] - BASE[name]), rtol=0, atol=1e-6)


def test_frozen_rows_stay_those_of_the_base() -> None:
    arguments, rows = given("linear"), torch.tensor([1, 4, 9])
    name = "roberta.embeddings.weight"
    full = {
        key: {**one, name: BASE[name].index_copy(0, rows, one[name][rows])} for key, one in arguments["sources"].items()
    }
    whole = merge_tensors(**arguments | {"sources": full}, base=BASE, parameters={"scale": 1.6})
    untouched = [row for row in range(30) if row not in rows]
    assert torch.equal(whole[name][untouched], BASE[name][untouched])
    few = {key: {**one, name: one[name][rows]} for key, one in full.items()}
    part = merge_tensors(
        **arguments | {"sources": few}, base={**BASE, name: BASE[name][rows]}, parameters={"scale": 1.6}
    )
    assert torch.equal(part[name], whole[name][rows])


def test_what_cannot_be_scaled_is_refused() -> None:
    with pytest.raises(UserError, match="linear with a scale other than 1 scales the task vector and needs the base"):
        merge_tensors(**given("linear"), parameters={"scale": 1.3})
    pattern = Override("classifier.*", parameters={"scale": 1.3})
    with pytest.raises(UserError, match="the base has none of its tensors: they have no task vector"):
        merge_tensors(**given("linear"), base=ENCODER, overrides=[pattern])
    with pytest.raises(UserError, match="unknown parameter of task_arithmetic 'scale': did you mean scaling"):
        merge_tensors(**given("task_arithmetic"), base=BASE, parameters={"scale": 1.3})


def test_who_needs_the_base_is_known_before_the_merge() -> None:
    assert not needs_base("linear", {})
    assert not needs_base("linear", {"scale": "1.0"})
    assert needs_base("linear", {"scale": "1.3"})
    assert needs_base("linear", {}, [Override("*", parameters={"scale": 2})])
    assert needs_base("ties", {})


def test_every_method_that_averages_has_a_scale() -> None:
    # Methods with a factor of their own for the task vector, or that average nothing.
    others = {"arcee_fusion", "nearswap", "passthrough", "adamerging", "wudi"}
    for name, method in METHODS.items():
        fields = method.parameters.__dataclass_fields__.keys()
        assert method.scalable or fields & {"scaling", "extrapolation"} or name in others, name
        assert not method.scalable or "scale" in fields
