"""Validates the fields of a recipe."""

from typing import Any

from mu_lightning.utilities.errors import UserError, shown


def mapping(what: str, given: Any) -> dict[str, Any]:
    """Returns a mapping, empty for None; raises UserError for other types.

    Args:
        what: description of the field for the error, such as ``the recipe's parameters``.
        given: the value in YAML.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise UserError(f"{what}: expected a mapping, got {shown(given)}")
    return {str(key): value for key, value in given.items()}


def entries(what: str, given: Any) -> list[Any]:
    """Returns a list, empty for None; raises UserError for other types."""
    if given is None:
        return []
    if not isinstance(given, list):
        raise UserError(f"{what}: expected a list, got {shown(given)}")
    return given


def text(what: str, given: Any) -> str:
    """Returns a string; raises UserError for None, a list or a mapping."""
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        raise UserError(f"{what}: expected a name, got {shown(given)}")
    return str(given)


def optional_text(what: str, given: Any) -> str | None:
    """Returns a string or None; raises UserError for a list or a mapping."""
    return None if given is None else text(what, given)


def integer(what: str, given: Any) -> int:
    """Returns an integer; raises UserError for other types."""
    if isinstance(given, bool) or not isinstance(given, int):
        raise UserError(f"{what} is {shown(given)}: expected an integer")
    return given


def number(what: str, given: Any) -> float:
    """Returns a float, also from a string (YAML reads ``1e-5`` as one); raises UserError for other types."""
    try:
        if not isinstance(given, bool):
            return float(given)
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError(f"{what} is {shown(given)}: expected a number")
