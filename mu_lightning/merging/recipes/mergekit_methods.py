"""Maps mergekit's methods and parameters to ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mu_lightning.utilities.errors import UserError


def _same(value: Any) -> Any:
    return value


def _weighting(normalize: Any) -> str:
    return "mean" if normalize else "raw"


def _consensus(normalize: Any) -> str:
    return "average" if normalize else "total"


def _window(epsilon: Any) -> float:
    return 2 * float(epsilon)  # mergekit's epsilon is half of the paper's


def _refused(what: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if value:
            raise UserError(f"mergekit's {what} has no counterpart here")

    return check


@dataclass(frozen=True)
class Parameter:
    """A parameter of mergekit: our name (None: validated only), its default, its conversion."""

    name: str | None
    default: Any
    convert: Callable[[Any], Any] = _same


@dataclass(frozen=True)
class Counterpart:
    """The counterpart of a mergekit method.

    Attributes:
        name: our name.
        parameters: mergekit's parameter -> ours.
        fixed: parameters of ours that reproduce mergekit's behavior.
        weighted: whether each model has a weight.
        base: whether ``base_model`` is the base, the first source, or only provides the config.
    """

    name: str
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    weighted: bool = False
    base: Literal["base", "first", "unused"] = "base"


_SCALING = {"lambda": Parameter("scaling", 1.0)}
_DENSITY = {"density": Parameter("density", 1.0)}
_OUTLIERS = {"gamma": Parameter("outliers", 0.01)}
_TO_MASS = {"rescale": Parameter(None, False, _refused("rescale for methods that drop nothing at random"))}
_BY_CHANCE = {"rescale": Parameter("rescale", True)}
_MEAN = {"normalize": Parameter("weighting", True, _weighting)}
_SUM = {"normalize": Parameter("weighting", False, _weighting)}
_TOTAL = {"normalize": Parameter("consensus", False, _consensus)}
_AVERAGE = {"normalize": Parameter("consensus", True, _consensus)}
_WINDOW = {"epsilon": Parameter("window", 0.15, _window)}
_RAW = {"weighting": "raw"}

METHODS: dict[str, Counterpart] = {
    "linear": Counterpart(
        "linear", {"normalize": Parameter("weighting", True, _weighting)}, weighted=True, base="unused"
    ),
    "slerp": Counterpart("slerp", base="first"),
    "nuslerp": Counterpart(
        "nuslerp",
        {"nuslerp_flatten": Parameter("flatten", True), "nuslerp_row_wise": Parameter("row_wise", False)},
        weighted=True,
    ),
    "multislerp": Counterpart(
        "multislerp",
        {"normalize_weights": Parameter("weighting", True, _weighting), "eps": Parameter(None, 1e-8)},
        weighted=True,
    ),
    "karcher": Counterpart(
        "karcher",
        {"max_iter": Parameter("iterations", 10), "tol": Parameter("tolerance", 1e-5, float)},
        base="unused",
    ),
    "task_arithmetic": Counterpart("task_arithmetic", _SCALING | _SUM | _TO_MASS, weighted=True),
    "ties": Counterpart("ties", _DENSITY | _SCALING | _AVERAGE | _TO_MASS, {"scope": "tensor"} | _RAW, weighted=True),
    "dare_linear": Counterpart("dare_linear", _DENSITY | _SCALING | _SUM | _BY_CHANCE, weighted=True),
    "dare_ties": Counterpart(
        "dare_ties", _DENSITY | _SCALING | _TOTAL | _BY_CHANCE, {"trim": 1.0, "scope": "tensor"} | _RAW, weighted=True
    ),
    "breadcrumbs": Counterpart("breadcrumbs", _DENSITY | _OUTLIERS | _SCALING | _SUM | _TO_MASS, weighted=True),
    "breadcrumbs_ties": Counterpart(
        "breadcrumbs_ties", _DENSITY | _OUTLIERS | _SCALING | _TOTAL | _TO_MASS, _RAW, weighted=True
    ),
    "della": Counterpart("della", _DENSITY | _WINDOW | _SCALING | _AVERAGE | _BY_CHANCE, _RAW, weighted=True),
    "della_linear": Counterpart("della_linear", _DENSITY | _WINDOW | _SCALING | _SUM | _BY_CHANCE, weighted=True),
    "sce": Counterpart("sce", {"select_topk": Parameter("density", 1.0)}, {"consensus": "average"}),
    "model_stock": Counterpart(
        "model_stock", {"filter_wise": Parameter(None, False, _refused("model_stock with filter_wise"))}
    ),
    "arcee_fusion": Counterpart("arcee_fusion"),
    "nearswap": Counterpart("nearswap", {"t": Parameter("t", None)}, base="first"),
    "passthrough": Counterpart("passthrough", {"scale": Parameter("scale", 1.0)}, base="unused"),
    "ram": Counterpart("ram", {"epsilon": Parameter("epsilon", 1e-5, float)}),
    "ramplus_tl": Counterpart(
        "ram",
        {
            "epsilon": Parameter("epsilon", 1e-5, float),
            "r": Parameter("boost", 0.1),
            "alpha": Parameter("limit", 0.2),
        },
    ),
}
