"""TIES-Merging: trims task vectors to their largest elements, elects signs and averages agreeing elements.

Yadav et al., TIES-Merging: Resolving Interference When Merging Models, 2023. https://arxiv.org/abs/2306.01708
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method, Scope
from mu_lightning.merging.method_parameters import for_each, option
from mu_lightning.merging.methods.shared.order_statistics import each_kth_largest
from mu_lightning.merging.methods.shared.task_vectors import AVERAGE, TOTAL, added, at_least, elected, task_vectors
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, SUM, WEIGHTING_HELP, scaled_weights

SCOPE_HELP = "keep the share of each whole model (the paper) or of each tensor (mergekit)"


@dataclass(frozen=True)
class Ties:
    """Parameters of TIES, with the paper's defaults."""

    density: float | Sequence[float] = option(
        0.2,
        "share of the largest elements of each task vector to keep",
        low=0,
        high=1,
        per_source=True,
        model_wide=True,
    )
    scope: str = option("model", SCOPE_HELP, choices=("model", "tensor"))
    consensus: str = option(AVERAGE, "merge agreeing sources by their average or their total", choices=(AVERAGE, TOTAL))
    vote: str = option("mass", "elect signs by total magnitude or number of sources", choices=("mass", "count"))
    scaling: float = option(1.0, "factor of the merged task vector (the paper's λ)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


def kept_count(density: float, total: int) -> int:
    """Number of elements that a density keeps: at least one, unless the density is zero."""
    return max(1, int(density * total)) if density > 0 else 0


def thresholds(chunks: Chunks, parameters: Ties) -> list[float]:
    """Magnitude threshold for each source."""
    return trim_thresholds(chunks, lambda chunk, chosen: task_vectors(chunk), parameters.density)


def trim_thresholds(
    chunks: Chunks, vectors: Callable[[Chunk, Sequence[int]], list[torch.Tensor]], density: float | Sequence[float]
) -> list[float]:
    """Smallest magnitude that a density keeps, for each source's vector; 0 if it keeps all elements.

    Ties are kept. For `vectors` see `each_kth_largest`.
    """
    densities = for_each(density, chunks.sources)
    if min(densities) >= 1:
        return [0.0] * chunks.sources
    ranks = [[chunks.total if share >= 1 else kept_count(share, chunks.total)] for share in densities]
    return [
        0.0 if share >= 1 else values[0]
        for share, values in zip(densities, each_kth_largest(chunks, vectors, ranks), strict=True)
    ]


def ties(chunk: Chunk, parameters: Ties) -> torch.Tensor:
    """Trim, elect, merge. `chunk.global_statistics` holds the thresholds."""
    vectors = [at_least(*pair) for pair in zip(task_vectors(chunk), chunk.global_statistics, strict=True)]
    factors = scaled_weights(chunk.weights, parameters.weighting)
    return added(chunk, elected(vectors, factors, parameters.consensus, parameters.vote), parameters.scaling)


def scope(parameters: Any) -> Scope:
    """Returns the parameter ``scope``."""
    return "model" if parameters.scope == "model" else "tensor"


METHOD = Method(
    name="ties",
    summary="trim task vectors to their largest elements, elect signs, average agreeing elements",
    paper="Yadav et al., TIES-Merging, 2023",
    url="https://arxiv.org/abs/2306.01708",
    combine=ties,
    parameters=Ties,
    global_statistics=thresholds,
    uses_order_statistics=True,
    statistics_scope=scope,
    preserves_base_rows=True,
    needs_base=True,
)
