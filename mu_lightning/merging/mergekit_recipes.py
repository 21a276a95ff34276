"""mergekit's recipes in our words, so that they give the same model here (https://github.com/arcee-ai/mergekit, 0.1.5).

What differs on purpose: arithmetic is in float32 whatever ``dtype`` says; DARE and DELLA rescale by the chance that an
element was kept, as their papers do, not to the old mass, and draw other numbers; what needs other architectures
(slices), gradients over layers or another tokenizer is refused.
"""

import dataclasses
import glob
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mu_lightning.errors import UserError, unknown
from mu_lightning.merging.job import Override
from mu_lightning.merging.recipes import Recipe
from mu_lightning.merging.registry import find_method

# Keys that change nothing here: sources must share one tokenizer anyway, and masks are never stored.
_WITHOUT_EFFECT = ("tokenizer_source", "tokenizer", "chat_template", "name", "int8_mask")
_KEYS = ("merge_method", "models", "base_model", "parameters", "dtype", "out_dtype", *_WITHOUT_EFFECT)


def _same(value: Any) -> Any:
    return value


def _weighting(normalize: Any) -> str:
    return "mean" if normalize else "raw"


def _consensus(normalize: Any) -> str:
    return "average" if normalize else "total"


def _window(epsilon: Any) -> float:
    return 2 * float(epsilon)  # mergekit's is half of the paper's


def _refused(what: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if value:
            raise UserError(f"mergekit's {what} has no counterpart here")

    return check


@dataclass(frozen=True)
class _Parameter:
    """What a parameter of mergekit's is here: our name (None: it is only checked), its default, how it converts."""

    name: str | None
    default: Any
    convert: Callable[[Any], Any] = _same


@dataclass(frozen=True)
class _Method:
    """What a method of mergekit's is here.

    Attributes:
        name: our name.
        parameters: mergekit's parameter -> ours.
        fixed: parameters of ours that make it do as mergekit's does.
        weighted: whether it takes a weight for each model.
        base: whether the base model is the base, the first source, or nothing but the place of a config.
    """

    name: str
    parameters: Mapping[str, _Parameter] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    weighted: bool = False
    base: Literal["base", "first", "unused"] = "base"


_SCALING = {"lambda": _Parameter("scaling", 1.0)}
_DENSITY = {"density": _Parameter("density", 1.0)}
_OUTLIERS = {"gamma": _Parameter("outliers", 0.01)}
_TO_MASS = {"rescale": _Parameter(None, False, _refused("rescale for methods that drop nothing at random"))}
_BY_CHANCE = {"rescale": _Parameter("rescale", True)}
_SUM = {"normalize": _Parameter("weighting", False, _weighting)}
_TOTAL = {"normalize": _Parameter("consensus", False, _consensus)}
_AVERAGE = {"normalize": _Parameter("consensus", True, _consensus)}
_WINDOW = {"epsilon": _Parameter("window", 0.15, _window)}
_RAW = {"weighting": "raw"}

METHODS: dict[str, _Method] = {
    "linear": _Method("linear", {"normalize": _Parameter("weighting", True, _weighting)}, weighted=True, base="unused"),
    "slerp": _Method("slerp", base="first"),
    "nuslerp": _Method(
        "nuslerp",
        {"nuslerp_flatten": _Parameter("flatten", True), "nuslerp_row_wise": _Parameter("row_wise", False)},
        weighted=True,
    ),
    "multislerp": _Method(
        "multislerp",
        {"normalize_weights": _Parameter("weighting", True, _weighting), "eps": _Parameter(None, 1e-8)},
        weighted=True,
    ),
    "karcher": _Method(
        "karcher",
        {"max_iter": _Parameter("iterations", 10), "tol": _Parameter("tolerance", 1e-5, float)},
        base="unused",
    ),
    "task_arithmetic": _Method("task_arithmetic", _SCALING | _SUM | _TO_MASS, weighted=True),
    "ties": _Method("ties", _DENSITY | _SCALING | _AVERAGE | _TO_MASS, {"scope": "tensor"} | _RAW, weighted=True),
    "dare_linear": _Method("dare_linear", _DENSITY | _SCALING | _SUM | _BY_CHANCE, weighted=True),
    "dare_ties": _Method(
        "dare_ties", _DENSITY | _SCALING | _TOTAL | _BY_CHANCE, {"trim": 1.0, "scope": "tensor"} | _RAW, weighted=True
    ),
    "breadcrumbs": _Method("breadcrumbs", _DENSITY | _OUTLIERS | _SCALING | _SUM | _TO_MASS, weighted=True),
    "breadcrumbs_ties": _Method(
        "breadcrumbs_ties", _DENSITY | _OUTLIERS | _SCALING | _TOTAL | _TO_MASS, _RAW, weighted=True
    ),
    "della": _Method("della", _DENSITY | _WINDOW | _SCALING | _AVERAGE | _BY_CHANCE, _RAW, weighted=True),
    "della_linear": _Method("della_linear", _DENSITY | _WINDOW | _SCALING | _SUM | _BY_CHANCE, weighted=True),
    "sce": _Method("sce", {"select_topk": _Parameter("density", 1.0)}, {"consensus": "average"}),
    "model_stock": _Method(
        "model_stock", {"filter_wise": _Parameter(None, False, _refused("model_stock with filter_wise"))}
    ),
    "arcee_fusion": _Method("arcee_fusion"),
    "nearswap": _Method("nearswap", {"t": _Parameter("t", None)}, base="first"),
    "passthrough": _Method("passthrough", {"scale": _Parameter("scale", 1.0)}, base="unused"),
    "ram": _Method("ram", {"epsilon": _Parameter("epsilon", 1e-5, float)}),
    "ramplus_tl": _Method(
        "ram",
        {
            "epsilon": _Parameter("epsilon", 1e-5, float),
            "r": _Parameter("boost", 0.1),
            "alpha": _Parameter("limit", 0.2),
        },
    ),
}


def translated(content: Mapping[str, Any]) -> Recipe:
    """A mergekit recipe as one of ours; raises UserError for what has no counterpart."""
    if "slices" in content or "modules" in content:
        raise UserError("mergekit recipes with slices or modules build other architectures: only whole models merge")
    for key in content:
        if key not in _KEYS:
            raise unknown("key of a mergekit recipe", str(key), _KEYS)
    if content["merge_method"] not in METHODS:
        raise unknown("mergekit method", str(content["merge_method"]), METHODS)
    method = METHODS[content["merge_method"]]
    shared = dict(content.get("parameters") or {})
    own = {_model(entry): dict(entry.get("parameters") or {}) for entry in content.get("models") or ()}
    base = content.get("base_model")
    if method.base == "first":
        if base is None:
            raise UserError(
                f"mergekit's {content['merge_method']} needs a base_model: it is the first of its two models"
            )
        own = {base: own.get(base, {})} | own
    elif method.base == "base":
        own.pop(str(base), None)
    if not own:
        raise UserError("the mergekit recipe names no models")
    weights, by_filter = _weights(content["merge_method"], method, shared, own)
    parameters = dict(method.fixed)
    for name, parameter in method.parameters.items():
        default, special = _converted(method, name, shared, own)
        if parameter.name is not None:
            parameters[parameter.name] = default
            for pattern, value in special:
                by_filter.setdefault(pattern, ({}, {}))[1][parameter.name] = value
    _check_parameters(content["merge_method"], method, shared, own)
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
        dtype=content.get("out_dtype") or content.get("dtype"),
    )


@dataclass(frozen=True)
class _Value:
    """A value, and other values where a filter is part of a tensor's name."""

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
        filters: list[tuple[str, Any]] = []
        for item in given:
            if item.get("filter") in (None, "*"):
                return cls(item["value"], tuple(filters))
            filters.append((str(item["filter"]), item["value"]))
        return cls(default, tuple(filters))


def _weights(
    name: str, method: _Method, shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, float], dict[str, tuple[dict[str, float], dict[str, Any]]]]:
    """The models' weights, and for each filter the weights that it changes (and room for parameters)."""
    by_filter: dict[str, tuple[dict[str, float], dict[str, Any]]] = {}
    if name == "slerp":
        first, second = (*own, "", "")[:2]
        value = _Value.of("t", _uniform("t", shared, own), None)
        if value.default is None:
            raise UserError("mergekit's slerp needs the parameter t for every tensor")
        for pattern, share in value.by_filter:
            by_filter[pattern] = ({first: 1.0 - share, second: float(share)}, {})
        return {first: 1.0 - value.default, second: float(value.default)}, by_filter
    if not method.weighted:
        return dict.fromkeys(own, 1 / len(own)), by_filter
    weights = {}
    for model, parameters in own.items():
        value = _Value.of("weight", parameters.get("weight", shared.get("weight")), None)
        if value.default is None:
            raise UserError(f"mergekit's {name} needs the parameter weight for {model}, for every tensor")
        weights[model] = float(value.default)
        for pattern, special in value.by_filter:
            by_filter.setdefault(pattern, ({}, {}))[0][model] = float(special)
    return weights, by_filter


def _uniform(name: str, shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> Any:
    """A parameter's value, which must be the same for every model."""
    values = [parameters.get(name, shared.get(name)) for parameters in own.values()]
    if any(value != values[0] for value in values):
        raise UserError(f"mergekit's {name} differs between models ({values}): here all models share one")
    return values[0]


def _converted(
    method: _Method, name: str, shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]
) -> tuple[Any, list[tuple[str, Any]]]:
    """A parameter's value here, for all models or for each, and its values where a filter matches."""
    parameter = method.parameters[name]
    given = {model: parameters.get(name, shared.get(name)) for model, parameters in own.items()}
    fields = {field.name: field for field in dataclasses.fields(find_method(method.name).parameters)}
    if all(value == next(iter(given.values())) for value in given.values()):
        value = _Value.of(name, next(iter(given.values())), parameter.default)
        return parameter.convert(value.default), [(part, parameter.convert(other)) for part, other in value.by_filter]
    if parameter.name not in fields or not fields[parameter.name].metadata["per_source"]:
        _uniform(name, shared, own)
    values = {model: _Value.of(name, value, parameter.default) for model, value in given.items()}
    filters = {model: [part for part, _ in value.by_filter] for model, value in values.items()}
    patterns = next(iter(filters.values()))
    if any(other != patterns for other in filters.values()):
        raise UserError(f"mergekit's {name} has other filters for one model than for another ({filters})")
    special = [
        (pattern, {model: parameter.convert(value.by_filter[index][1]) for model, value in values.items()})
        for index, pattern in enumerate(patterns)
    ]
    return {model: parameter.convert(value.default) for model, value in values.items()}, special


def _check_parameters(
    name: str, method: _Method, shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]
) -> None:
    known = [*method.parameters, *(["weight"] if method.weighted else []), *(["t"] if name == "slerp" else [])]
    for parameters in (shared, *own.values()):
        for key in parameters:
            if key not in known and key not in _WITHOUT_EFFECT:
                raise unknown(f"parameter of mergekit's {name}", str(key), known or ["none"])


def _along(parameters: Mapping[str, Any]) -> str:
    if parameters["flatten"]:
        return "tensor"
    return "columns" if parameters["row_wise"] else "rows"


def _model(entry: Any) -> str:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("model"), str):
        raise UserError(f"a model of a mergekit recipe needs a path or hub id, got {entry!r}")
    for sign, what in (("+", "a LoRA on it"), ("@", "a revision")):
        if sign in entry["model"]:
            raise UserError(
                f"{entry['model']}: mergekit's models with {what} are not supported: save it as a folder first"
            )
    return str(entry["model"])
