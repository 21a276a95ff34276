"""The ``--mode`` of earlier versions: pairs of a weight source and a merge method."""

from collections.abc import Mapping
from typing import Any

from mu_lightning.merging.registry import METHODS
from mu_lightning.utilities.errors import UserError, unknown

# Mode -> (weight source, method); None leaves the weight source to --preweight.
_PAIRS: dict[str, tuple[str | None, str]] = {
    "similarity": ("uriel", "linear"),
    "average": ("equal", "linear"),
    "manual": ("manual", "linear"),
    "shuffled": ("shuffled", "linear"),
    "dare": (None, "dare_linear"),
}
# Methods with DARE's random dropping.
_WITH_DROPPING = {
    "task_arithmetic": "dare_linear",
    "ties": "dare_ties",
    "dare_linear": "dare_linear",
    "dare_ties": "dare_ties",
}
DEFAULT_PREWEIGHT = "uriel"
DEFAULT_METHOD = "linear"


def modes() -> dict[str, tuple[str | None, str]]:
    """Returns all modes: named pairs, and every method by its name."""
    return {name: (None, name) for name in METHODS} | _PAIRS


def resolve(mode: str | None, method: str | None, preweight: str | None) -> tuple[str, str]:
    """Returns the weight source and the method, given by mode or by name.

    Raises:
        UserError: an unknown mode, or a mode that contradicts the given weight source or method.
    """
    if mode is None:
        return preweight or DEFAULT_PREWEIGHT, method or DEFAULT_METHOD
    if mode not in modes():
        raise unknown("mode", mode, modes())
    weights, found = modes()[mode]
    for name, given, meant in (("--preweight", preweight, weights), ("--merge-method", method, found)):
        if given is not None and meant is not None and given != meant:
            raise UserError(f"--mode {mode} means {name} {meant}, but {name} {given} is given too: leave one out")
    return weights or preweight or DEFAULT_PREWEIGHT, found


def with_dropping(method: str, rate: float, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translates ``--param-value-mask-rate`` of earlier versions to DARE with task arithmetic or TIES.

    Raises:
        UserError: the method does not support dropping, a density is given, too, or the rate is not a probability.
    """
    if method not in _WITH_DROPPING:
        raise UserError(f"--param-value-mask-rate is for {', '.join(_WITH_DROPPING)}, not for {method}")
    if not 0 <= rate < 1:
        raise UserError(f"--param-value-mask-rate {rate:g}: the drop rate must be at least 0 and below 1")
    found = _WITH_DROPPING[method]
    taken = dict(parameters)
    if method == "ties" and "density" in taken:
        taken["trim"] = taken.pop("density")
    if "density" in taken:
        raise UserError("--param-value-mask-rate and the parameter density are mutually exclusive")
    return found, {"density": 1 - rate, **taken}
