"""A method's parameters: typed fields with help and bounds, read from Python, YAML or a command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mu_lightning.merging.method import Method
from mu_lightning.utilities.parameters import option, read_parameters

__all__ = ["NoParameters", "build_parameters", "for_each", "option"]


def for_each(value: float | Sequence[float], sources: int) -> list[float]:
    """A parameter's value for each source, whether it was given once or for each."""
    return [value] * sources if isinstance(value, (int, float)) else list(value)


@dataclass(frozen=True)
class NoParameters:
    """The parameters of a method that has none."""


def build_parameters(method: Method, given: Mapping[str, Any] | None, sources: Sequence[str] = ()) -> Any:
    """The method's parameters with `given` in place of defaults; texts, as from a command line, are read as their type.

    Args:
        method: the method.
        given: parameter -> value, or source name -> value for a parameter that may differ between sources.
        sources: the sources' names.

    Raises:
        UserError: an unknown parameter (with the nearest known ones), or a value of the wrong type or out of range.
    """
    return method.parameters(**read_parameters(method.name, method.parameters, given, sources))
