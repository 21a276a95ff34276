"""Parses parameters, overrides and sizes of a merge from the command line."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mu_lightning.merging.engine.job import Override
from mu_lightning.merging.recipes.recipe_fields import mapping, number, text
from mu_lightning.utilities.errors import UserError

_UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_WEIGHT = "weight."
OVERRIDE_KEYS = ("pattern", "weights", "parameters")


def parse_parameters(given: str | Mapping[str, Any] | None, what: str = "--parameters") -> dict[str, Any]:
    """Parses the parameters of a method from the command line or YAML.

    >>> parse_parameters("density=0.2,scope=tensor")
    {'density': '0.2', 'scope': 'tensor'}

    Per-source parameters are written ``density.sv-SE=0.2,density.nl-NL=0.5``.

    Raises:
        UserError: invalid syntax, or a repeated parameter.
    """
    if not isinstance(given, str):
        return dict(given or {})
    values: dict[str, Any] = {}
    for part in given.split(","):
        name, equals, value = (text.strip() for text in part.partition("="))
        if not name or not equals:
            raise UserError(f"{what} '{given}' is not of the form density=0.2,scaling=1")
        name, dot, source = name.partition(".")
        into = values.setdefault(name, {}) if dot else values
        key = source if dot else name
        if not isinstance(into, dict) or key in into:
            raise UserError(f"{what} '{given}' repeats {part.partition('=')[0].strip()}")
        into[key] = value
    return values


def parse_overrides(given: Sequence[str | Mapping[str, Any]] | None) -> tuple[Override, ...]:
    """Parses overrides from the command line or from recipes.

    >>> parse_overrides(["classifier.*:density=1,weight.nl-NL=0.5"])
    (Override(pattern='classifier.*', weights={'nl-NL': 0.5}, parameters={'density': '1'}),)

    Raises:
        UserError: invalid syntax, a missing pattern, or an empty override.
    """
    return tuple(_override(each) for each in given or ())


def _override(given: str | Mapping[str, Any]) -> Override:
    if isinstance(given, str):
        pattern, colon, rest = given.partition(":")
        if not pattern.strip() or not colon:
            raise UserError(f"the override '{given}' is not of the form PATTERN:density=1,weight.nl-NL=0.5")
        weights, parameters = {}, []
        for part in map(str.strip, rest.split(",")):
            if part.startswith(_WEIGHT):
                source, _, weight = part.removeprefix(_WEIGHT).partition("=")
                weights[source] = weight
            else:
                parameters.append(part)
        return _built(
            pattern.strip(), weights, parse_parameters(",".join(parameters) or None, f"the override '{given}':")
        )
    for key in given:
        if key not in OVERRIDE_KEYS:
            raise UserError(f"an override is a mapping with {', '.join(OVERRIDE_KEYS)}, not {key}")
    if not given.get("pattern"):
        raise UserError("an override has no pattern")
    pattern = text("an override's pattern", given["pattern"])
    return _built(
        pattern,
        mapping(f"the weights for '{pattern}'", given.get("weights")),
        mapping(f"the parameters for '{pattern}'", given.get("parameters")),
    )


def _built(pattern: str, weights: Mapping[str, Any], parameters: Mapping[str, Any]) -> Override:
    if not weights and not parameters:
        raise UserError(f"the override for '{pattern}' is empty: give a weight or a parameter")
    numbers = {
        str(source): number(f"the weight of {source} for '{pattern}'", weight) for source, weight in weights.items()
    }
    return Override(pattern, numbers or None, dict(parameters) or None)


def parse_bytes(given: str | int, what: str) -> int:
    """Parses a size in bytes, as in Hugging Face libraries.

    >>> parse_bytes("200MB", "--max-shard-size")
    200000000

    Raises:
        UserError: invalid or non-positive size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?B?)", str(given).strip().upper())
    unit = None if found is None else found[2] if found[2] in _UNITS else f"{found[2]}B"
    if found is None or unit not in _UNITS or float(found[1]) == 0:
        raise UserError(f"{what} {given} is not a size: expected 5GB, 200MB or a number of bytes")
    return max(1, int(float(found[1]) * _UNITS[unit]))
