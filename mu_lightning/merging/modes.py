"""The old scripts' ``--mode``: each is a pair of where the weights come from and what is done with them."""

from mu_lightning.errors import UserError, unknown
from mu_lightning.merging.registry import METHODS

# Mode -> (weight source, method); None leaves the weight source to --preweight.
_PAIRS: dict[str, tuple[str | None, str]] = {
    "similarity": ("uriel", "linear"),
    "average": ("equal", "linear"),
    "manual": ("manual", "linear"),
    "shuffled": ("shuffled", "linear"),
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
