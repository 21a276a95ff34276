"""Typed parameters of registered components: fields with help and bounds, from Python, YAML or text."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mu_lightning.utilities.errors import UserError, shown, unknown


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    kind: type | None = None,
    per_source: bool = False,
    model_wide: bool = False,
) -> Any:
    """Declares a parameter as a dataclass field.

    Args:
        default: default value; it determines the type unless `kind` is given.
        help: description.
        low: inclusive minimum.
        high: inclusive maximum.
        choices: allowed values.
        kind: type, if the default is None.
        per_source: whether it can differ between sources; see `for_each`.
        model_wide: whether a merge method's global statistics depend on it: it then has one value for the model.
    """
    metadata = {
        "help": help,
        "low": low,
        "high": high,
        "choices": choices,
        "kind": kind or type(default),
        "per_source": per_source,
        "model_wide": model_wide,
    }
    return dataclasses.field(default=default, metadata=metadata)


def read_parameters(
    owner: str, parameters: type, given: Mapping[str, Any] | None, sources: Sequence[str] = ()
) -> dict[str, Any]:
    """Validates and converts parameters; strings, as from a command line, are parsed.

    Args:
        owner: name of the component, for errors.
        parameters: a dataclass with fields made by `option`; other fields are ignored.
        given: parameter -> value, or source name -> value for per-source parameters.
        sources: names of the sources.

    Raises:
        UserError: an unknown parameter (similar names are suggested), or a value of a wrong type or out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(parameters) if "kind" in field.metadata}
    values = {}
    for name, value in (given or {}).items():
        key = name.replace("-", "_")
        if key not in fields:
            if not fields:
                raise UserError(f"{owner} has no parameter '{name}': it has no parameters")
            raise unknown(f"parameter of {owner}", name, fields)
        what = f"{owner}'s {key}"
        if isinstance(value, Mapping) and fields[key].metadata["per_source"]:
            if set(value) != set(sources):
                raise UserError(
                    f"{what} is given for {', '.join(map(str, value))}: it must be one number, or one for each source"
                )
            values[key] = tuple(_validated(f"{what} of {source}", value[source], fields[key]) for source in sources)
        else:
            values[key] = _validated(what, value, fields[key])
    return values


def _validated(what: str, value: Any, field: "dataclasses.Field[Any]") -> Any:
    meta = field.metadata
    if value is None and field.default is None:
        return None
    value = _read(what, value, meta["kind"])
    low, high, choices = meta["low"], meta["high"], meta["choices"]
    if choices is not None and value not in choices:
        raise unknown(f"value of {what}", str(value), choices)
    if isinstance(value, float) and value != value:
        raise UserError(f"{what} is not a number")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = " and ".join(
            ([f"at least {low:g}"] if low is not None else []) + ([f"at most {high:g}"] if high is not None else [])
        )
        raise UserError(f"{what} is {value:g}: it must be {bounds}")
    return value


def _read(what: str, value: Any, kind: type) -> Any:
    if kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    if kind in (int, float) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
            if kind is float or number == int(number):
                return kind(number)
        except (ValueError, OverflowError):
            pass
    raise UserError(f"{what} is {shown(value)}: it must be of type {kind.__name__}")
