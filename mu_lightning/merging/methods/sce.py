"""SCE: selects the elements with the largest variance, weights sources by their energy, erases minority signs.

Wan et al., FuseChat: Knowledge Fusion of Chat Models, 2024. https://arxiv.org/abs/2408.07990
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.order_statistics import kth_largest
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.task_vectors import AVERAGE, TOTAL, added, elected, task_vectors, weighted_sum
from mu_lightning.merging.methods.ties import kept_count


@dataclass(frozen=True)
class Sce:
    """Parameters of SCE."""

    density: float = option(
        0.1, "share of each tensor's elements to select, by variance over the sources", low=0, high=1
    )
    consensus: str = option(
        TOTAL,
        "merge agreeing sources by their weighted total (the paper) or weighted average (mergekit)",
        choices=(TOTAL, AVERAGE),
    )
    scale: float = scale_option()


@dataclass(frozen=True)
class Selection:
    """Statistics of a tensor for SCE: the variance threshold, and the weight of each source."""

    threshold: float
    weights: list[float]


def select(chunks: Chunks, parameters: Sce) -> Selection:
    """Computes the selection threshold and each source's share of the energy (sum of squares)."""
    threshold = 0.0
    if parameters.density < 1:
        ranks = [[kept_count(parameters.density, chunks.total)]]
        ((threshold,),) = kth_largest(chunks, lambda chunk: [_variance(task_vectors(chunk))], ranks)

    def energies(chunk: Chunk) -> torch.Tensor:
        chosen = _selected(task_vectors(chunk), threshold)
        return torch.stack([vector.double().square().sum() for vector in chosen]).cpu()

    energy = torch.zeros(chunks.sources, dtype=torch.float64)
    for part in chunks.map(energies):
        energy += part
    total = energy.sum().item()
    return Selection(threshold, (energy / total).tolist() if total > 0 else [1 / chunks.sources] * chunks.sources)


def sce(chunk: Chunk, parameters: Sce) -> torch.Tensor:
    """Select, calculate, erase."""
    vectors = _selected(task_vectors(chunk), chunk.global_statistics.threshold)
    return added(chunk, elected(vectors, chunk.global_statistics.weights, parameters.consensus, "plain mass"), 1.0)


def _variance(vectors: list[torch.Tensor]) -> torch.Tensor:
    share = 1 / len(vectors)
    mean = weighted_sum(vectors, [share] * len(vectors))
    return weighted_sum([(vector - mean).square_() for vector in vectors], [share] * len(vectors))


def _selected(vectors: list[torch.Tensor], threshold: float) -> list[torch.Tensor]:
    if threshold <= 0:
        return vectors
    chosen = _variance(vectors).ge_(threshold)
    return [vector * chosen for vector in vectors]


METHOD = Method(
    name="sce",
    summary="task vector elements with the largest variance, weighted by energy, minority signs erased",
    paper="Wan et al., FuseChat, 2024",
    url="https://arxiv.org/abs/2408.07990",
    combine=sce,
    parameters=Sce,
    scalable=True,
    global_statistics=select,
    uses_order_statistics=True,
    preserves_base_rows=True,
    needs_base=True,
    takes_weights=False,
)
