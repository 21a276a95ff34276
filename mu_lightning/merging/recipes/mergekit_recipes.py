"""Translates mergekit recipes, so that they yield the same model (https://github.com/arcee-ai/mergekit, 0.1.5).

Intended differences: the computation is in float32 for every ``dtype``; DARE and DELLA rescale by the keep probability,
as in their papers, and use other random masks; see `mu_lightning.merging.recipes.mergekit_keys` for what is refused.
"""

import dataclasses
import glob
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mu_lightning.merging.engine.job import Override
from mu_lightning.merging.recipes.mergekit_keys import FILTER, MODEL, check_keys, check_recipe_keys, refused
from mu_lightning.merging.recipes.mergekit_methods import METHODS, Counterpart, Parameter
from mu_lightning.merging.recipes.mergekit_models import model_of
from mu_lightning.merging.recipes.model import Recipe
from mu_lightning.merging.recipes.recipe_fields import entries, mapping, number, optional_text, text
from mu_lightning.merging.registry import find_method
from mu_lightning.utilities.errors import UserError, shown, unknown


def translated(content: Mapping[str, Any]) -> Recipe:
    """Translates a mergekit recipe; raises UserError for unsupported features."""
    for key in ("slices", "modules"):
        if content.get(key) is not None:
            raise refused(key)
    name = text("merge_method", content["merge_method"])
    if name not in METHODS:
        raise unknown("mergekit method", name, METHODS)
    method = METHODS[name]
    shared = mapping("the recipe's parameters", content.get("parameters"))
    own = _models(method, entries("the recipe's models", content.get("models")))
    base = None if content.get("base_model") is None else model_of(content["base_model"])
    check_recipe_keys(content, [*own, *([] if base is None else [base])])
    if method.base == "first":
        if base is None:
            raise UserError(f"mergekit's {name} needs a base_model: it is the first of its two models")
        own = {base: own.get(base, {})} | own
    elif method.base == "base" and own.pop(base or "", {}):
        raise UserError(f"the base model {base} has parameters, which have no effect in mergekit's {name}: remove them")
    if not own:
        raise UserError("the mergekit recipe names no models")
    weights, by_filter = _weights(name, method, shared, own)
    parameters = dict(method.fixed)
    for key, parameter in method.parameters.items():
        default, special = _converted(method, key, shared, own)
        if parameter.name is not None:
            parameters[parameter.name] = default
            for pattern, value in special:
                by_filter.setdefault(pattern, ({}, {}))[1][parameter.name] = value
    _check_parameters(name, method, shared, own)
    if method.name == "nuslerp":
        parameters = {"along": _along(parameters)}
    return Recipe(
        method=method.name,
        models={name: name for name in own},
        weights=weights,
        base=base if method.base == "base" else None,
        parameters=parameters,
        # Of mergekit's filters the first that matches counts, of our overrides the last.
        overrides=tuple(Override(f"*{glob.escape(part)}*", w, p) for part, (w, p) in reversed(list(by_filter.items()))),
        dtype=optional_text("dtype", content.get("out_dtype") or content.get("dtype")),
    )


@dataclass(frozen=True)
class _Value:
    """A value, with other values for tensors whose names contain a filter."""

    default: Any
    by_filter: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, name: str, given: Any, default: Any) -> "_Value":
        """Reads mergekit's ways to write a value: as it is, or a list of values with filters, the last without one."""
        if given is None:
            given = default
        if isinstance(given, Mapping):
            given = [given]
        if not isinstance(given, list):
            return cls(given)
        if any(not isinstance(item, Mapping) for item in given) or any(
            isinstance(item.get("value"), list) for item in given
        ):
            raise UserError(f"mergekit's gradients over layers ({name}: {given}) have no counterpart: use filters")
        if any("value" not in item for item in given):
            raise UserError(f"mergekit's {name}: {shown(given)} is given, each filter needs a value")
        for item in given:
            check_keys(f"a filter of mergekit's {name}", item, FILTER)
        filters: list[tuple[str, Any]] = []
        for item in given:
            if item.get("filter") in (None, "*"):
                return cls(item["value"], tuple(filters))
            filters.append((str(item["filter"]), item["value"]))
        return cls(default, tuple(filters))


def _weights(
    name: str, method: Counterpart, shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, float], dict[str, tuple[dict[str, float], dict[str, Any]]]]:
    """The models' weights, and for each filter the weights that it changes (and room for parameters)."""
    by_filter: dict[str, tuple[dict[str, float], dict[str, Any]]] = {}
    if name == "slerp":
        first, second = (*own, "", "")[:2]
        value = _Value.of("t", _uniform("t", shared, own), None)
        if value.default is None:
            raise UserError("mergekit's slerp needs the parameter t for every tensor")
        for pattern, special in value.by_filter:
            share = number("mergekit's t", special)
            by_filter[pattern] = ({first: 1.0 - share, second: share}, {})
        share = number("mergekit's t", value.default)
        return {first: 1.0 - share, second: share}, by_filter
    if not method.weighted:
        return dict.fromkeys(own, 1 / len(own)), by_filter
    weights = {}
    for model, parameters in own.items():
        value = _Value.of("weight", parameters.get("weight", shared.get("weight")), None)
        if value.default is None:
            raise UserError(f"mergekit's {name} needs the parameter weight for {model}, for every tensor")
        weights[model] = number(f"the weight of {model}", value.default)
        for pattern, special in value.by_filter:
            by_filter.setdefault(pattern, ({}, {}))[0][model] = number(f"the weight of {model}", special)
    return weights, by_filter


def _uniform(name: str, shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> Any:
    """Returns a parameter that must be the same for all models."""
    values = [parameters.get(name, shared.get(name)) for parameters in own.values()]
    if any(value != values[0] for value in values):
        raise UserError(f"mergekit's {name} differs between models ({values}): it must be the same for all models")
    return values[0]


def _converted(
    method: Counterpart, name: str, shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]
) -> tuple[Any, list[tuple[str, Any]]]:
    """Converts a parameter, for all models or per model, with its values by filter."""
    parameter = method.parameters[name]
    given = {model: parameters.get(name, shared.get(name)) for model, parameters in own.items()}
    fields = {field.name: field for field in dataclasses.fields(find_method(method.name).parameters)}
    if all(value == next(iter(given.values())) for value in given.values()):
        value = _Value.of(name, next(iter(given.values())), parameter.default)
        return _here(name, parameter, value.default), [
            (part, _here(name, parameter, other)) for part, other in value.by_filter
        ]
    if parameter.name not in fields or not fields[parameter.name].metadata["per_source"]:
        _uniform(name, shared, own)
    values = {model: _Value.of(name, value, parameter.default) for model, value in given.items()}
    filters = {model: [part for part, _ in value.by_filter] for model, value in values.items()}
    patterns = next(iter(filters.values()))
    if any(other != patterns for other in filters.values()):
        raise UserError(f"mergekit's {name} has different filters for different models ({filters})")
    special = [
        (pattern, {model: _here(name, parameter, value.by_filter[index][1]) for model, value in values.items()})
        for index, pattern in enumerate(patterns)
    ]
    return {model: _here(name, parameter, value.default) for model, value in values.items()}, special


def _here(name: str, parameter: Parameter, value: Any) -> Any:
    """Converts a value of mergekit to ours."""
    try:
        return parameter.convert(value)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"mergekit's {name} is {value!r}: it must be a number") from error


def _check_parameters(
    name: str, method: Counterpart, shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]
) -> None:
    known = [*method.parameters, *(["weight"] if method.weighted else []), *(["t"] if name == "slerp" else [])]
    for parameters in (shared, *own.values()):
        for key in parameters:
            if key not in known and key != "int8_mask":
                raise unknown(f"parameter of mergekit's {name}", str(key), known or ["none"])


def _along(parameters: Mapping[str, Any]) -> str:
    if parameters["flatten"]:
        return "tensor"
    return "columns" if parameters["row_wise"] else "rows"


def _models(method: Counterpart, given: list[Any]) -> dict[str, dict[str, Any]]:
    """Reads the models with their parameters; a model that is named twice has the sum of its weights, for `linear`."""
    own: dict[str, dict[str, Any]] = {}
    for entry in given:
        if not isinstance(entry, Mapping) or "model" not in entry:
            raise UserError(f"a model of a mergekit recipe needs a path or hub id, got {shown(entry)}")
        check_keys("a model of a mergekit recipe", entry, MODEL)
        name = model_of(entry["model"])
        parameters = mapping(f"the parameters of {name}", entry.get("parameters"))
        if name not in own:
            own[name] = parameters
            continue
        weights = [found.get("weight") for found in (own[name], parameters)]
        if method.name != "linear" or any(isinstance(weight, list | Mapping) or weight is None for weight in weights):
            raise UserError(f"the model {name} is named twice in the recipe: name it once, with the sum of its weights")
        own[name] = {"weight": sum(number(f"the weight of {name}", weight) for weight in weights)}
    return own
