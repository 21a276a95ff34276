"""Fisher merging: averages parameters weighted by the diagonal Fisher information of each source.

Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2021. https://arxiv.org/abs/2111.09832
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method, Scope
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.weighting import MEAN, scaled_weights
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class Fisher:
    """Parameters of Fisher merging."""

    floor: float = option(1e-6, "added to the Fisher information; parameters without any are averaged", low=0)
    normalize: bool = option(
        False, "divide each source's Fisher information by its norm over the model", model_wide=True
    )
    scale: float = scale_option()


def norms(chunks: Chunks, parameters: Fisher) -> list[float]:
    """Norm of each source's Fisher information over the model; ones without normalization."""
    if not parameters.normalize:
        return [1.0] * chunks.sources
    squares = torch.zeros(chunks.sources, dtype=torch.float64)
    for part in chunks.map(_squares):
        squares += part
    return [value if value > 0 else 1.0 for value in squares.sqrt().tolist()]


def _squares(chunk: Chunk) -> torch.Tensor:
    statistics = chunk.statistics or [None] * len(chunk.sources)
    return torch.tensor([0.0 if each is None else each.double().square().sum().item() for each in statistics])


def importance_average(sources: Sequence[torch.Tensor], importances: Sequence[torch.Tensor]) -> torch.Tensor:
    """Elementwise Σ c_i θ_i / Σ c_i, computed relative to θ_0 so that equal sources are preserved exactly."""
    first = sources[0]
    total, weight = torch.zeros_like(first), torch.zeros_like(first)
    for source, importance in zip(sources, importances, strict=True):
        total.add_((first - source) * importance)
        weight.add_(importance)
    return first - total / weight


def fisher(chunk: Chunk, parameters: Fisher) -> torch.Tensor:
    """Computes Σ w_i F_i θ_i / Σ w_i F_i. `chunk.statistics` holds the Fisher diagonals F_i.

    Raises:
        UserError: a Fisher diagonal with a wrong shape or negative values, or one that is missing for some sources.
    """
    factors = scaled_weights(chunk.weights, MEAN)
    statistics = list(chunk.statistics or ())
    if all(each is None for each in statistics):
        importances = [torch.full_like(chunk.sources[0], factor) for factor in factors]
        return importance_average(chunk.sources, importances)
    if any(each is None or each.shape != chunk.sources[0].shape or bool((each < 0).any()) for each in statistics):
        raise UserError(f"{chunk.name}: every source needs a non-negative Fisher diagonal of the tensor's shape")
    scales = chunk.global_statistics if parameters.normalize else [1.0] * len(factors)
    importances = [
        (each / scale + parameters.floor) * factor
        for each, scale, factor in zip(statistics, scales, factors, strict=True)
        if each is not None
    ]
    return importance_average(chunk.sources, importances)


def scope(parameters: Fisher) -> Scope:
    """The norm is computed over the whole model."""
    return "model" if parameters.normalize else "tensor"


METHOD = Method(
    name="fisher",
    summary="elementwise average weighted by the Fisher information of the sources",
    paper="Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2021",
    url="https://arxiv.org/abs/2111.09832",
    combine=fisher,
    parameters=Fisher,
    scalable=True,
    global_statistics=norms,
    statistics_scope=scope,
    row_independent=True,
    needs_statistics="Fisher diagonals",
)
