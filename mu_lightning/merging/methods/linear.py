"""Linear merging: the weighted average of the models' parameters (model soups).

Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time, 2022. https://arxiv.org/abs/2203.05482
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, moved, scaled_weights

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Linear:
    """Parameters of linear merging."""

    weighting: str = option(
        MEAN, "mean: weights are normalized to sum to 1; raw: weights are used as given", choices=(MEAN, RAW)
    )
    scale: float = scale_option()


def linear(chunk: Chunk, parameters: Linear) -> "torch.Tensor":
    """Computes the weighted sum of the sources.

    A mean is computed as θ_0 − Σ w_i (θ_0 − θ_i), which preserves equal sources exactly. The order of the sources
    affects rounding only.
    """
    factors = scaled_weights(chunk.weights, parameters.weighting)
    first, *others = chunk.sources
    if parameters.weighting == RAW:
        total = first * factors[0]
        for factor, source in zip(factors[1:], others, strict=True):
            total += source * factor
        return total
    merged: torch.Tensor = moved(first, others, factors[1:])
    return merged


METHOD = Method(
    name="linear",
    summary="weighted average of the models' parameters",
    paper="Wortsman et al., Model soups, 2022",
    url="https://arxiv.org/abs/2203.05482",
    combine=linear,
    parameters=Linear,
    scalable=True,
    row_independent=True,
    propagates_nonfinite=True,
    numpy_compatible=True,
)
