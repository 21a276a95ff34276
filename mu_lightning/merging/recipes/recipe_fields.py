"""What stands in a recipe, read as what it must be."""

from typing import Any

from mu_lightning.utilities.errors import UserError, shown


def mapping(what: str, given: Any) -> dict[str, Any]:
    """A mapping, empty where nothing is given; raises UserError for anything else.

    Args:
        what: what it is of the recipe, such as ``the recipe's parameters``.
        given: what YAML gave.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise UserError(f"{what}: {shown(given)} is given, it must be a mapping")
    return {str(key): value for key, value in given.items()}


def entries(what: str, given: Any) -> list[Any]:
    """A list, empty where nothing is given; raises UserError for anything else."""
    if given is None:
        return []
    if not isinstance(given, list):
        raise UserError(f"{what}: {shown(given)} is given, it must be a list")
    return given


def text(what: str, given: Any) -> str:
    """A name; raises UserError for nothing, a list or a mapping."""
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        raise UserError(f"{what}: {shown(given)} is given, it must be a name")
    return str(given)


def optional_text(what: str, given: Any) -> str | None:
    """A name, or None where nothing is given; raises UserError for a list or a mapping."""
    return None if given is None else text(what, given)


def whole(what: str, given: Any) -> int:
    """A whole number; raises UserError for anything else."""
    if isinstance(given, bool) or not isinstance(given, int):
        raise UserError(f"{what} is {shown(given)}: it must be a whole number")
    return given


def number(what: str, given: Any) -> float:
    """A number, also one that YAML takes for text (``1e-5``); raises UserError for anything else."""
    try:
        if not isinstance(given, bool):
            return float(given)
    except (TypeError, ValueError, OverflowError):
        pass
    raise UserError(f"{what} is {shown(given)}: it must be a number")
