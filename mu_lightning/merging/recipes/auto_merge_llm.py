"""Merge backend auto-merge-llm, for comparisons; the library is installed separately.

https://github.com/Guinan-Su/auto-merge-llm and its fork https://github.com/Erland366/auto-merge-llm, which has the
``merge_tensor`` functions that are used here. Its TIES keeps one more element of each tensor than the density implies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.methods.shared.weighting import MEAN, scaled_weights
from mu_lightning.merging.registry import find_method
from mu_lightning.utilities.errors import UserError

NAME = "auto-merge-llm"


@dataclass(frozen=True)
class _Counterpart:
    """The library's method: its name, its parameters as a function of ours, and the values that ours must have."""

    name: str
    parameters: Callable[[Chunk, Any], dict[str, Any]] = lambda chunk, parameters: {}
    required: Mapping[str, Any] | None = None
    weighted: bool = False
    argument: str = "method_params"


_COUNTERPARTS = {
    "linear": _Counterpart(
        "linear",
        lambda chunk, parameters: {"weights": scaled_weights(chunk.weights, MEAN)},
        {"weighting": MEAN},
        weighted=True,
    ),
    "slerp": _Counterpart(
        "slerp", lambda chunk, parameters: {"slerp_t": scaled_weights(chunk.weights, MEAN)[1]}, weighted=True
    ),
    "task_arithmetic": _Counterpart(
        "task_arithmetic", lambda chunk, parameters: {"scaling_coefficient": parameters.scaling}, {"weighting": "sum"}
    ),
    "ties": _Counterpart(
        "ties",
        lambda chunk, parameters: {
            "scaling_coefficient": parameters.scaling,
            "param_value_mask_rate": 1 - parameters.density,
        },
        {"scope": "tensor", "consensus": "average", "vote": "mass"},
    ),
    "model_stock": _Counterpart("stock", argument="merge_params"),
    "passthrough": _Counterpart("passthrough", lambda chunk, parameters: {"scale": parameters.scale}),
}


def through_library(name: str) -> Method:
    """Returns a registered method that is computed by auto-merge-llm, one tensor at a time.

    Raises:
        UserError: the library is not installed, or does not have the method for single tensors.
    """
    method = find_method(name)
    if name not in _COUNTERPARTS:
        raise UserError(f"--engine {NAME} supports {', '.join(_COUNTERPARTS)}, not {name}")
    try:
        from auto_merge_llm.methods import merging_methods_dict
    except ImportError as error:
        raise UserError(
            f"--engine {NAME} needs auto-merge-llm, which is not on PyPI: install it from its repository ({error})"
        ) from error
    counterpart = _COUNTERPARTS[name]
    theirs = merging_methods_dict[counterpart.name]()

    def combine(chunk: Chunk, parameters: Any) -> torch.Tensor:
        for key, value in (counterpart.required or {}).items():
            if getattr(parameters, key) != value:
                raise UserError(
                    f"--engine {NAME} supports {name} with {key}={value} only, not {getattr(parameters, key)}"
                )
        if not counterpart.weighted and len(set(chunk.weights)) > 1:
            raise UserError(f"--engine {NAME} supports {name} with equal weights only: add --preweight equal")
        base = chunk.sources[0] if chunk.base is None else chunk.base
        given = {counterpart.argument: counterpart.parameters(chunk, parameters)}
        merged: torch.Tensor = theirs.merge_tensor(base, list(chunk.sources), **given)
        return merged

    return replace(
        method,
        combine=combine,
        granularity="tensor",
        global_statistics=None,
        preserves_base_rows=False,
        numpy_compatible=False,
    )
