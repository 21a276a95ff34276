"""Reads and writes merge recipes in YAML: our format, and mergekit's for supported methods.

Our format::

    method: ties
    sources:
      nl-NL: {model: checkpoints/xlm-r-cldr_cldr_nl-NL, weight: 0.6}
      de-DE: {model: checkpoints/xlm-r-cldr_cldr_de-DE, weight: 0.4}
    base: checkpoints/xlm-r-cldr
    parameters: {density: 0.3}
    overrides:
      - {pattern: "classifier.*", parameters: {density: 1.0, scope: tensor}, weights: {nl-NL: 0.5, de-DE: 0.5}}
    dtype: float32
    seed: 0

Methods that need text (fisher, regmean, regmean_plus, adamerging) also need::

    data: {corpus: cldr, mode: target, target: sq-AL, examples: 100}
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mu_lightning.merging.engine.job import Job
from mu_lightning.merging.recipes.command_line import OVERRIDE_KEYS, parse_overrides
from mu_lightning.merging.recipes.model import Recipe
from mu_lightning.merging.recipes.recipe_fields import entries, integer, mapping, number, optional_text, text
from mu_lightning.merging.registry import find_method
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.yaml_files import read_yaml

_KEYS = ("method", "sources", "base", "parameters", "overrides", "dtype", "seed", "data")
_SOURCE_KEYS = ("model", "weight")
_DATA_NAMES = ("corpus", "mode", "target")
_DATA_KEYS = (*_DATA_NAMES, "examples", "max_length")


def read_recipe(path: Path) -> Recipe:
    """Reads a recipe in our format or mergekit's.

    Raises:
        UserError: missing file, invalid YAML, an unknown key, method or parameter (similar names are suggested), or an
            unsupported feature of mergekit.
    """
    if not path.is_file():
        raise UserError(f"no recipe at {path}")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a recipe: expected a mapping")
    if "merge_method" in content:
        from mu_lightning.merging.recipes.mergekit_recipes import translated

        return translated(content)
    _check_keys("recipe", content, _KEYS)
    sources = content.get("sources")
    if "method" not in content or not isinstance(sources, dict) or not sources:
        raise UserError(f"{path} is not a recipe: it needs a method and sources")
    method = text("a recipe's method", content["method"])
    find_method(method)
    models, weights = {}, {}
    for name, source in sources.items():
        fields = {"model": source} if isinstance(source, str) else source
        if not isinstance(fields, dict) or "model" not in fields:
            raise UserError(f"{path}: source {name} has no model")
        _check_keys(f"source {name}", fields, _SOURCE_KEYS)
        models[str(name)] = text(f"the model of {name}", fields["model"])
        weights[str(name)] = number(f"the weight of {name}", fields.get("weight", 1 / len(sources)))
    data = content.get("data") or {}
    _check_keys("recipe's data", data, _DATA_KEYS)
    overrides = entries("a recipe's overrides", content.get("overrides"))
    for given in overrides:
        _check_keys("override", given, OVERRIDE_KEYS)
    return Recipe(
        method=method,
        models=models,
        weights=weights,
        base=optional_text("a recipe's base", content.get("base")),
        parameters=mapping("a recipe's parameters", content.get("parameters")),
        overrides=parse_overrides(overrides),
        dtype=optional_text("a recipe's dtype", content.get("dtype")),
        seed=integer("the seed", content.get("seed", 0)),
        data={
            **{key: text(f"data's {key}", value) for key, value in data.items() if key in _DATA_NAMES},
            **{key: integer(f"data's {key}", value) for key, value in data.items() if key not in _DATA_NAMES},
        },
    )


def recipe_of(
    job: Job, models: Mapping[str, str], base: str | None, dtype: str | None, data: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Builds the recipe of a merge, in the format of `read_recipe`.

    Args:
        job: the merge.
        models: source name -> folder or hub id.
        base: folder or hub id of the base model, if it was used.
        dtype: dtype of the result.
        data: texts that the statistics were computed on.
    """
    recipe = {
        "method": job.method.name,
        "sources": {
            name: {"model": models[name], "weight": weight} for name, weight in zip(job.names, job.weights, strict=True)
        },
        "base": base,
        "parameters": _written(dataclasses.asdict(job.parameters), job.names),
        "overrides": [
            {"pattern": override.pattern}
            | ({"weights": dict(override.weights)} if override.weights else {})
            | ({"parameters": _written(override.parameters, job.names)} if override.parameters else {})
            for override in job.overrides
        ],
        "dtype": dtype,
        "seed": job.seed,
        "data": dict(data or {}),
    }
    return {key: value for key, value in recipe.items() if value not in (None, {}, [])}


def _written(parameters: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Formats parameters; per-source values become mappings by source name."""
    return {
        key: dict(zip(names, value, strict=True)) if isinstance(value, tuple) else value
        for key, value in parameters.items()
    }


def _check_keys(what: str, given: Any, known: tuple[str, ...]) -> None:
    if not isinstance(given, dict):
        raise UserError(f"{'an' if what.startswith('o') else 'a'} {what} is a mapping with {', '.join(known)}")
    for key in given:
        if key not in known:
            raise unknown(f"key of a {what}", str(key), known)
