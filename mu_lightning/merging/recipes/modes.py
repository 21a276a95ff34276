"""The old scripts' ``--mode``: each is a pair of where the weights come from and what is done with them."""

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
# The method that drops task vectors' elements at random before it does what the key does.
_WITH_DROPPING = {
    "task_arithmetic": "dare_linear",
    "ties": "dare_ties",
    "dare_linear": "dare_linear",
    "dare_ties": "dare_ties",
}
DEFAULT_PREWEIGHT = "uriel"
DEFAULT_METHOD = "linear"


def modes() -> dict[str, tuple[str | None, str]]:
    """Every mode: the pairs with a name of their own, and each method under its name."""
    return {name: (None, name) for name in METHODS} | _PAIRS


def resolve(mode: str | None, method: str | None, preweight: str | None) -> tuple[str, str]:
    """The weight source and the method that were asked for, by mode or by name.

    Raises:
        UserError: an unknown mode, or a mode that says otherwise than the weight source or method named beside it.
    """
    if mode is None:
        return preweight or DEFAULT_PREWEIGHT, method or DEFAULT_METHOD
    if mode not in modes():
        raise unknown("mode", mode, modes())
    weights, found = modes()[mode]
    for name, given, meant in (("--preweight", preweight, weights), ("--method", method, found)):
        if given is not None and meant is not None and given != meant:
            raise UserError(f"--mode {mode} means {name} {meant}, but {name} {given} is given too: leave one out")
    return weights or preweight or DEFAULT_PREWEIGHT, found


def with_dropping(method: str, rate: float, parameters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The method and parameters for the old ``--param-value-mask-rate``: DARE inside task arithmetic and TIES.

    Raises:
        UserError: the method works on no task vectors that could be dropped from, a density is given too, or the rate
            is no chance.
    """
    if method not in _WITH_DROPPING:
        raise UserError(f"--param-value-mask-rate is for {', '.join(_WITH_DROPPING)}, not for {method}")
    if not 0 <= rate < 1:
        raise UserError(f"--param-value-mask-rate {rate:g}: the chance to be dropped is at least 0 and below 1")
    found = _WITH_DROPPING[method]
    taken = dict(parameters)
    if method == "ties" and "density" in taken:
        taken["trim"] = taken.pop("density")
    if "density" in taken:
        raise UserError("--param-value-mask-rate and the parameter density say the same: leave one out")
    return found, {"density": 1 - rate, **taken}
