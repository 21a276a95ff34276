"""Approaches and problems from plain values: an entry of a grid, or what a result recorded."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from mu_lightning.approaches.base import Approach
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.registry import APPROACHES
from mu_lightning.results.identity import Identity
from mu_lightning.utilities.errors import UserError, unknown

Kind = TypeVar("Kind")


def read_approach(values: Mapping[str, Any]) -> Approach:
    """An approach from its name and parameters.

    Args:
        values: ``approach``, its name, and its parameters; those left out have their defaults.

    Raises:
        UserError: an unknown approach or parameter (with the nearest ones), or a value of the wrong type.
    """
    given = dict(values)
    name = given.pop("approach", None)
    if name not in APPROACHES:
        raise unknown("approach", str(name), APPROACHES)
    kind = APPROACHES[name]
    known = {one.name for one in fields(kind)}
    for key in given:
        if key not in known:
            raise unknown(f"parameter of the approach {name}", str(key), known)
    return _read(kind, given, f"the approach {name}")


def recorded_approach(identity: Identity) -> Approach:
    """The approach that a result's identity names; raises UserError where this version has no such approach."""
    # What an approach does not read is recorded as None.
    unread = [key for key in ("preweight", "num_examples") if identity.approach.get(key, 0) is None]
    return read_approach({key: value for key, value in identity.approach.items() if key not in unread})


def read_problem(values: Mapping[str, Any], **changed: Any) -> Problem:
    """A problem from plain values; raises UserError for an unknown field or a value of the wrong type.

    Args:
        values: its fields.
        changed: fields that take another value.
    """
    return _read(Problem, {**values, **changed}, "the problem")


def entries(entry: Mapping[str, Any] | str) -> Iterator[dict[str, Any]]:
    """Every combination of an entry's values where some are lists: ``{approach: one_shot, method: [linear, ties]}``.

    Raises:
        UserError: the entry names no approach.
    """
    if isinstance(entry, str):
        entry = {"approach": entry}
    if "approach" not in entry:
        raise UserError(
            f"an entry of approaches is a name, or a mapping with 'approach' and parameters, not {dict(entry)}; "
            f"approaches: {', '.join(APPROACHES)}"
        )
    keys = list(entry)
    choices = [value if isinstance(value, list) else [value] for value in entry.values()]
    for combination in itertools.product(*choices):
        yield dict(zip(keys, combination, strict=True))


def _read(kind: type[Kind], values: Mapping[str, Any], what: str) -> Kind:
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "value", fail_untyped=False)
    try:
        found: Kind = parser.instantiate(parser.parse_object({"value": dict(values)})).value
    except (ArgumentError, TypeError, ValueError) as error:
        raise UserError(f"{what}: {' '.join(str(error).split())}") from error
    return found
