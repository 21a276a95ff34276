"""Fisher merging: each element is averaged over the sources by how much each source's predictions depend on it.

Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2021. https://arxiv.org/abs/2111.09832
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method, Scope
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.weighting import MEAN, scaled_weights
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class Fisher:
    """Parameters of Fisher merging."""

    floor: float = option(1e-6, "added to every Fisher value, so that elements without any are averaged", low=0)
    normalize: bool = option(
        False, "whether each source's Fisher is divided by its norm over the model first", model_wide=True
    )


def norms(chunks: Chunks, parameters: Fisher) -> list[float]:
    """Each source's Fisher norm over the model, or ones where they are not normalised."""
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
    """Σ c_i θ_i / Σ c_i element by element, computed around θ_0 so that equal sources come back bit for bit."""
    first = sources[0]
    total, weight = torch.zeros_like(first), torch.zeros_like(first)
    for source, importance in zip(sources, importances, strict=True):
        total.add_((first - source) * importance)
        weight.add_(importance)
    return first - total / weight


def fisher(chunk: Chunk, parameters: Fisher) -> torch.Tensor:
    """Σ w_i F_i θ_i / Σ w_i F_i, of the chunk's shape. `chunk.statistics` holds the Fisher diagonals.

    Raises:
        UserError: a Fisher of another shape or with negative values, or one that some sources have and others lack.
    """
    factors = scaled_weights(chunk.weights, MEAN)
    statistics = list(chunk.statistics or ())
    if all(each is None for each in statistics):
        importances = [torch.full_like(chunk.sources[0], factor) for factor in factors]
        return importance_average(chunk.sources, importances)
    if any(each is None or each.shape != chunk.sources[0].shape or bool((each < 0).any()) for each in statistics):
        raise UserError(
            f"{chunk.name}: every source needs a Fisher diagonal of the tensor's shape, none of it negative"
        )
    scales = chunk.global_statistics if parameters.normalize else [1.0] * len(factors)
    importances = [
        (each / scale + parameters.floor) * factor
        for each, scale, factor in zip(statistics, scales, factors, strict=True)
        if each is not None
    ]
    return importance_average(chunk.sources, importances)


def scope(parameters: Fisher) -> Scope:
    """A norm is over the whole model."""
    return "model" if parameters.normalize else "tensor"


METHOD = Method(
    name="fisher",
    summary="average weighted, element by element, by the sources' Fisher information",
    paper="Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2021",
    url="https://arxiv.org/abs/2111.09832",
    combine=fisher,
    parameters=Fisher,
    global_statistics=norms,
    statistics_scope=scope,
    row_independent=True,
    needs_statistics="the Fisher diagonals",
)
