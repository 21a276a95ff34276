"""The one kind of error that is the user's to mend: one clear line, raised before long work starts."""

import difflib
import math
import reprlib
from collections.abc import Iterable
from typing import Any

MAX_MESSAGE = 2000
MAX_NAME = 200


class UserError(ValueError):
    """What was asked cannot be done; the message names what was given, what exists and what to do.

    The program prints it as one line and exits with status 2; a library user catches it as a `ValueError`.

    Args:
        message: what went wrong; control characters in it, such as line ends in a name, are escaped, and what is longer
            than `MAX_MESSAGE` is cut.
    """

    def __init__(self, message: str) -> None:
        super().__init__(escaped(message))


class NonFiniteError(UserError):
    """A model's weights, its logits or the result of a merge contain a NaN or an infinity."""


def escaped(message: str) -> str:
    r"""A text for one line of a terminal.

    >>> escaped("a\n\x1b[1mb")
    'a\\n\\x1b[1mb'
    """
    message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]} ... (cut)"
    plain = message.isprintable()
    return message if plain else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


def shown(value: Any) -> str:
    """What was given, for a message: its repr, cut where it is long, deep or has many items."""
    return _REPR.repr(value)


_REPR = reprlib.Repr()
_REPR.maxlevel = 3
_REPR.maxlist = _REPR.maxdict = _REPR.maxtuple = _REPR.maxset = 12
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 200


def unknown(kind: str, given: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not among the known ones, with the nearest of them.

    Args:
        kind: what the name names, such as ``"locale"``.
        given: the name as it was given.
        known: every name that would have been accepted.
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
    """Raises UserError unless `value` is a finite number within the bounds; None, for "not set", passes.

    Args:
        name: the setting's name, for the error.
        value: what was given.
        least: the smallest number that is allowed.
        most: the largest number that is allowed.
        above: every allowed number is greater than this.
        below: every allowed number is smaller than this.
    """
    if value is None or (math.isfinite(value) and least <= value <= most and above < value < below):
        return
    bounds = (("at least", least), ("at most", most), ("above", above), ("below", below))
    expected = " and ".join(f"{word} {bound:g}" for word, bound in bounds if math.isfinite(bound))
    raise UserError(f"{name} is {value}: expected a number{' ' + expected if expected else ''}")


class Interrupted(BaseException):
    """A signal ended the work in good order; what was done so far is kept.

    Not an `Exception`, so that nothing on the way up takes it for a failure.

    Args:
        signal_name: ``SIGTERM`` or ``SIGINT``.
        status: the exit status that the signal asks for: 143 or 130.
        where: what had been done when it ended, such as ``after step 40``.
    """

    def __init__(self, signal_name: str, status: int, where: str = "") -> None:
        super().__init__(f"stopped by {signal_name}{' ' if where else ''}{where}")
        self.status = status
