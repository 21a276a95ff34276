"""Recipes of mergekit's give here what mergekit 0.1.5 gave, whose results on small random models lie beside this file.

They were made with its `merge_state_dicts`; the names before the slash are the cases below.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.recipes.reading import read_recipe
from mu_lightning.utilities.errors import UserError

ALL = {"a": 0.5, "b": 0.3, "c": 0.2}
PAIR = {"a": 0.6, "b": 0.2}
DOUBLE = {"a": 1.0, "b": 0.6, "c": 0.4}
NONE: dict[str, None] = dict.fromkeys("abc")

# Case: mergekit's method, the models' weights, the base model, the parameters (a mapping: one for each model).
CASES: dict[str, tuple[str, dict, str | None, dict[str, Any]]] = {
    "linear": ("linear", ALL, None, {}),
    "linear_raw": ("linear", DOUBLE, None, {"normalize": False}),
    "task_arithmetic": ("task_arithmetic", ALL, "base", {"lambda": 0.7}),
    "ties": ("ties", ALL, "base", {"density": 0.3}),
    "ties_total": ("ties", ALL, "base", {"density": 0.3, "normalize": False, "lambda": 0.5}),
    "breadcrumbs": ("breadcrumbs", ALL, "base", {"density": 0.3, "gamma": 0.1}),
    "breadcrumbs_ties": ("breadcrumbs_ties", ALL, "base", {"density": 0.3, "gamma": 0.1}),
    "ties_each": ("ties", ALL, "base", {"density": {"a": 0.1, "b": 0.5, "c": 1.0}}),
    "breadcrumbs_each": (
        "breadcrumbs",
        ALL,
        "base",
        {"density": {"a": 0.4, "b": 0.5, "c": 1.0}, "gamma": {"a": 0.1, "b": 0.0, "c": 0.1}},
    ),
    "sce": ("sce", NONE, "base", {"select_topk": 0.2}),
    "model_stock": ("model_stock", NONE, "base", {}),
    "multislerp": ("multislerp", ALL, "base", {}),
    "multislerp_nobase": ("multislerp", ALL, None, {}),
    "karcher": ("karcher", NONE, None, {}),
    "nuslerp": ("nuslerp", PAIR, "base", {}),
    "nuslerp_rows": ("nuslerp", PAIR, None, {"nuslerp_flatten": False}),
    "nuslerp_columns": ("nuslerp", PAIR, None, {"nuslerp_flatten": False, "nuslerp_row_wise": True}),
    "ram": ("ram", NONE, "base", {"epsilon": 0.2}),
    "ram_plus": ("ramplus_tl", NONE, "base", {"epsilon": 0.2, "r": 0.5, "alpha": 0.4}),
    "arcee_fusion": ("arcee_fusion", {"a": None}, "base", {}),
    "slerp": ("slerp", {"a": None, "b": None}, "a", {"t": 0.25}),
    "nearswap": ("nearswap", {"a": None, "b": None}, "a", {"t": 0.1}),
}


def written(path: Path, method: str, weights: dict, base: str | None, parameters: dict[str, Any], **more: Any) -> Path:
    own = {key: value for key, value in parameters.items() if isinstance(value, dict)}
    shared = {key: value for key, value in parameters.items() if key not in own}
    models = [
        {"model": name, "parameters": {key: value[name] for key, value in ({"weight": weights} | own).items()}}
        for name in weights
    ]
    if None in weights.values():
        models = [{"model": name} for name in weights]
    content = {"merge_method": method, "models": models, "parameters": shared, **more}
    path.write_text(yaml.safe_dump(content | ({"base_model": base} if base else {})))
    return path


@pytest.fixture(scope="module")
def stored() -> dict[str, dict[str, torch.Tensor]]:
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in load_file(Path(__file__).with_name("mergekit-0.1.5.safetensors")).items():
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = tensor
    return groups


@pytest.mark.parametrize("case", CASES)
def test_it_gives_what_mergekit_gave(case: str, stored: dict[str, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path / "recipe.yaml", *CASES[case]))
    merged = merge_tensors(
        recipe.method,
        {name: stored[path] for name, path in recipe.models.items()},
        recipe.weights,
        base=stored[recipe.base] if recipe.base else None,
        parameters=recipe.parameters,
    )
    for name, tensor in stored[case].items():
        torch.testing.assert_close(merged[name], tensor, rtol=0, atol=1e-5)


def test_filters_become_overrides_of_which_the_first_counts(tmp_path: Path) -> None:
    t = [{"filter": "layer.1", "value": 0.9}, {"filter": "layer", "value": 0.3}, {"value": 0.5}]
    recipe = read_recipe(written(tmp_path / "r", "slerp", {"a": None, "b": None}, "a", {"t": t}, dtype="bfloat16"))
    assert recipe.weights == {"a": 0.5, "b": 0.5}
    assert recipe.dtype == "bfloat16"
    assert [override.pattern for override in recipe.overrides] == ["*layer*", "*layer.1*"]
    states = {
        name: {"layer.0": torch.ones(2) * value, "layer.1": torch.ones(2) * value, "x": torch.ones(2) * value}
        for name, value in (("a", 1.0), ("b", 2.0))
    }
    merged = merge_tensors("slerp", states, recipe.weights, overrides=recipe.overrides)
    assert [round(merged[name][0].item(), 4) for name in ("layer.0", "layer.1", "x")] == [1.3, 1.9, 1.5]


def test_other_densities_by_filter(tmp_path: Path) -> None:
    density = [{"filter": "bias", "value": 1.0}, {"value": 0.2}]
    recipe = read_recipe(written(tmp_path / "r", "ties", ALL, "base", {"density": density}))
    assert recipe.parameters["density"] == 0.2
    assert recipe.overrides[0].parameters == {"density": 1.0}


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        (("tis", ALL, "base", {}), {}, "unknown mergekit method 'tis': did you mean ties"),
        (
            ("ties", ALL, "base", {"densty": 1}),
            {},
            "unknown parameter of mergekit's ties 'densty': did you mean density",
        ),
        (("ties", ALL, "base", {}), {"slices": []}, "slices"),
        (("ties", ALL, "base", {}), {"basemodel": "x"}, "unknown key of a mergekit recipe 'basemodel'"),
        (("ties", NONE, "base", {}), {}, "needs the parameter weight for a"),
        (("slerp", {"a": None, "b": None}, None, {"t": 0.5}), {}, "needs a base_model"),
        (("slerp", {"a": None, "b": None}, "a", {"t": [0, 0.5, 1]}), {}, "gradients over layers"),
        (("ties", ALL, "base", {"rescale": True}), {}, "no counterpart"),
        (("linear", {"a+lora": 1.0}, None, {}), {}, "lora"),
    ],
)
def test_what_has_no_counterpart_is_refused(arguments: tuple, more: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_recipe(written(tmp_path / "r", *arguments, **more))
