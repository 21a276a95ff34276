"""Errors for users: one line, raised before long computations."""

import difflib
import math
import reprlib
from collections.abc import Iterable
from typing import Any

MAX_MESSAGE = 2000
MAX_NAME = 200


class UserError(ValueError):
    """An error that the user can fix; the message states the given value, the expected value and the remedy.

    The program prints it as one line and exits with status 2; in Python it is a `ValueError`.

    Args:
        message: the message; control characters are escaped, and it is truncated to `MAX_MESSAGE`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(escaped(message))


class NonFiniteError(UserError):
    """A model's weights, its logits or the result of a merge contain a NaN or an infinity."""


def escaped(message: str) -> str:
    r"""Escapes control characters for terminal output.

    >>> escaped("a\n\x1b[1mb")
    'a\\n\\x1b[1mb'
    """
    message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} ... (cut)"
    plain = message.isprintable()
    return message if plain else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


def shown(value: Any) -> str:
    """Returns the repr of a value for a message, truncated if it is long or deeply nested."""
    return _REPR.repr(value)


_REPR = reprlib.Repr()
_REPR.maxlevel = 3
_REPR.maxlist = _REPR.maxdict = _REPR.maxtuple = _REPR.maxset = 12
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 200


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for an unknown name, with similar known names.

    Args:
        kind: kind of the name, such as ``"locale"``.
        given: the given name.
        known: all valid names.
    """
    names, given = sorted(known), given if len(given) <= MAX_NAME else f"{given[:MAX_NAME]}..."
    by_lower = {name.lower(): name for name in names}
    near = [by_lower[name] for name in difflib.get_close_matches(given.lower(), by_lower, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return UserError(f"unknown {kind} '{given}': {hint}")


def check_number(
    name: str,
    value: float | None,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Raises UserError unless a value is None or a finite number within bounds.

    Args:
        name: name of the setting, for the error.
        value: the given value.
        least: inclusive minimum.
        most: inclusive maximum.
        above: exclusive minimum.
        below: exclusive maximum.
    """
    if value is None or (_finite(value) and least <= value <= most and above < value < below):
        return
    bounds = (("at least", least), ("at most", most), ("above", above), ("below", below))
    expected = " and ".join(f"{word} {bound:.10g}" for word, bound in bounds if math.isfinite(bound))
    raise UserError(f"{name} is {shown(value)}: expected a number{' ' + expected if expected else ''}")


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


class Interrupted(BaseException):
    """Raised on a graceful stop by a signal.

    It is not an `Exception`, so that handlers of failures don't catch it.

    Args:
        signal_name: ``SIGTERM`` or ``SIGINT``.
        status: exit status of the signal: 143 or 130.
        where: progress at the stop, such as ``after step 40``.

    Attributes:
        resumable: whether a run was begun that can be resumed.
    """

    def __init__(self, signal_name: str, status: int, where: str = "") -> None:
        super().__init__(f"stopped by {signal_name}{' ' if where else ''}{where}")
        self.status = status
        self.resumable = True
