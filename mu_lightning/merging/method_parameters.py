"""Parameters of merge methods, from Python, YAML or the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mu_lightning.merging.method import Method
from mu_lightning.utilities.parameters import option, read_parameters

__all__ = ["NoParameters", "build_parameters", "for_each", "option"]


def for_each(value: float | Sequence[float], sources: int) -> list[float]:
    """Expands a parameter to one value per source."""
    return [value] * sources if isinstance(value, (int, float)) else list(value)


@dataclass(frozen=True)
class NoParameters:
    """Parameters of a method without parameters."""


def build_parameters(method: Method, given: Mapping[str, Any] | None, sources: Sequence[str] = ()) -> Any:
    """Builds the parameters of a method; strings, as from a command line, are converted.

    Args:
        method: the method.
        given: parameter -> value, or source name -> value for per-source parameters.
        sources: names of the sources.

    Raises:
        UserError: an unknown parameter (similar names are suggested), or a value of a wrong type or out of range.
    """
    return method.parameters(**read_parameters(method.name, method.parameters, given, sources))
