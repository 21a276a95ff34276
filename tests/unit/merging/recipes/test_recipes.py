"""Our own recipes."""

from pathlib import Path

import pytest
import yaml

from mu_lightning.merging.engine.job import Override, plan_job
from mu_lightning.merging.recipes.reading import Recipe, read_recipe, recipe_of
from mu_lightning.utilities.errors import UserError

RECIPE = """
method: ties
sources:
  nl-NL: {model: models/nl, weight: 0.6}
  de-DE: {model: models/de, weight: 0.4}
base: models/base
parameters: {density: {nl-NL: 0.3, de-DE: 0.5}}
overrides:
  - {pattern: "classifier.*", parameters: {density: 1.0, scope: tensor}, weights: {nl-NL: 0.5}}
dtype: float16
seed: 3
"""


def read(text: str, tmp_path: Path) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return read_recipe(path)


def test_a_recipe_is_read(tmp_path: Path) -> None:
    assert read(RECIPE, tmp_path) == Recipe(
        method="ties",
        models={"nl-NL": "models/nl", "de-DE": "models/de"},
        weights={"nl-NL": 0.6, "de-DE": 0.4},
        base="models/base",
        parameters={"density": {"nl-NL": 0.3, "de-DE": 0.5}},
        overrides=(Override("classifier.*", {"nl-NL": 0.5}, {"density": 1.0, "scope": "tensor"}),),
        dtype="float16",
        seed=3,
    )
    assert read("method: linear\nsources: {a: x, b: y}", tmp_path).weights == {"a": 0.5, "b": 0.5}


def test_what_was_run_can_be_read_again(tmp_path: Path) -> None:
    recipe = read(RECIPE, tmp_path)
    job = plan_job(
        recipe.method,
        recipe.weights,
        list(recipe.models),
        has_base=True,
        parameters=recipe.parameters,
        overrides=recipe.overrides,
        seed=recipe.seed,
    )
    again = read(yaml.safe_dump(recipe_of(job, recipe.models, recipe.base, recipe.dtype)), tmp_path)
    assert again.parameters["density"] == {"nl-NL": 0.3, "de-DE": 0.5}
    assert (again.models, again.weights, again.overrides) == (recipe.models, recipe.weights, recipe.overrides)
    assert (again.base, again.dtype, again.seed) == (recipe.base, recipe.dtype, recipe.seed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("method: tiess\nsources: {a: x}", "unknown merge method 'tiess': did you mean ties"),
        ("method: linear\nsource: {a: x}", "unknown key of a recipe 'source': did you mean sources"),
        ("method: linear", "needs a method and sources"),
        ("method: linear\nsources: {a: {weight: 1}}", "source a has no model"),
        ("method: linear\nsources: {a: {model: x, wait: 1}}", "unknown key of a source a 'wait'"),
        ("method: linear\nsources: {a: {model: x, weight: much}}", "the weight of a is 'much'"),
        ("method: linear\nsources: {a: x}\noverrides: [{weights: {a: 1}}]", "has no pattern"),
        ("method: [linear]\nsources: {a: x}", r"a recipe's method: expected a name, got \['linear'\]"),
        ("method: linear\nsources: {a: {model: [x]}}", "the model of a: expected a name"),
        ("method: linear\nsources: {a: x}\nparameters: [1]", "a recipe's parameters: expected a mapping"),
        ("method: linear\nsources: {a: x}\noverrides: 5", "a recipe's overrides: expected a list"),
        ("method: linear\nsources: {a: x}\noverrides: [5]", "an override is a mapping with pattern"),
        (
            "method: linear\nsources: {a: x}\noverrides: [{pattern: y, weights: [1]}]",
            "the weights for 'y': .* mapping",
        ),
        (
            "method: linear\nsources: {a: x}\noverrides: [{pattern: y, parameters: 5}]",
            "the parameters for 'y': expected a mapping",
        ),
        ("method: linear\nsources: {a: x}\nbase: [y]", "a recipe's base: expected a name"),
        ("method: linear\nsources: {a: x}\ndtype: [y]", "a recipe's dtype: expected a name"),
        ("method: linear\nsources: {a: x}\nseed: y", "the seed is 'y': expected an integer"),
        ("merge_method: [linear]", "merge_method: expected a name"),
        ("merge_method: linear\nmodels: 5", "the recipe's models: expected a list"),
        ("merge_method: linear\nparameters: x\nmodels: [{model: x}]", "the recipe's parameters: expected a mapping"),
        ("merge_method: linear\nmodels: [{model: x, parameters: 5}]", "the parameters of x: expected a mapping"),
        ("merge_method: linear\nmodels: [{model: x, parameters: {weight: y}}]", "the weight of x is 'y'"),
        (
            "merge_method: linear\nmodels: [{model: x, parameters: {weight: [{filter: y}]}}]",
            "filter needs a value",
        ),
        (
            "merge_method: slerp\nbase_model: x\nparameters: {t: y}\nmodels: [{model: z}]",
            "t is 'y'",
        ),
        ("merge_method: karcher\nparameters: {tol: y}\nmodels: [{model: z}]", "tol is 'y'"),
        ("merge_method: linear\nbase_model: [x]\nmodels: [{model: x}]", r"needs a path or hub id, got \['x'\]"),
        ("method: linear\nsources: {a: x}\ndata: {target: [x]}", "data's target: expected a name"),
        ("method: linear\nsources: {a: x}\ndata: {corpus: {}}", "data's corpus: expected a name"),
        ("method: linear\nsources: {a: x}\ndata: {examples: x}", "data's examples is 'x': expected an integer"),
        ("just text", "expected a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_broken_recipe_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read(text, tmp_path)
    with pytest.raises(UserError, match="no recipe at"):
        read_recipe(tmp_path / "none.yaml")


def test_numbers_that_yaml_takes_for_text_are_read(tmp_path: Path) -> None:
    assert read("method: linear\nsources: {a: {model: x, weight: 1e-1}}", tmp_path).weights == {"a": 0.1}
    kit = "merge_method: linear\nmodels: [{model: x, parameters: {weight: 1e-1}}]"
    assert read(kit, tmp_path).weights == {"x": 0.1}


@pytest.mark.parametrize("overrides", [(), (Override("x", {"a": 1.0, "b": -1.0}),)])
def test_weights_that_cannot_be_scaled_are_refused_before_any_work(overrides: tuple[Override, ...]) -> None:
    weights = {"a": 1.0, "b": 2.0 if overrides else -1.0}
    with pytest.raises(UserError, match="the merge weights sum to 0"):
        plan_job("linear", weights, list(weights), overrides=overrides)
    plan_job("linear", weights, list(weights), overrides=overrides, parameters={"weighting": "raw"})
