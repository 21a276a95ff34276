"""RAM: keeps changes that are unique to a source and averages changes that several sources share.

Reinforced Agent Merging, 2026. https://arxiv.org/abs/2601.13572
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class Ram:
    """Parameters of RAM, and of RAM+ where ``boost`` is above 0."""

    epsilon: float = option(1e-5, "minimum distance from the base for an element to count as changed", low=0)
    boost: float = option(0.0, "RAM+: amplification of unique changes by the overlap ratio (r; paper: 0.1)", low=0)
    limit: float = option(0.2, "RAM+: maximum overlap ratio (α)", low=0)
    scale: float = scale_option()


def growth(chunks: Chunks, parameters: Ram) -> list[float]:
    """Factor of each source's unique changes in a tensor: 1 + r min(shared / unique, α) for RAM+, 1 for RAM."""
    if parameters.boost == 0:
        return [1.0] * chunks.sources

    def counts(chunk: Chunk) -> torch.Tensor:
        changed = torch.stack([vector.abs() > parameters.epsilon for vector in task_vectors(chunk)])
        changed = changed.reshape(len(changed), -1)
        together = changed.sum(0)
        return torch.stack([(changed & (together > 1)).sum(1), (changed & (together == 1)).sum(1)]).cpu()

    shared, unique = sum(chunks.map(counts), torch.zeros(2, chunks.sources, dtype=torch.float64))
    overlap = (shared / unique.clamp(min=parameters.epsilon)).clamp(max=parameters.limit)
    return (1 + parameters.boost * overlap).tolist()


def ram(chunk: Chunk, parameters: Ram) -> torch.Tensor:
    """Merges a chunk; elements that several sources changed are their weighted mean.

    Raises:
        UserError: a weight is negative.
    """
    if min(chunk.weights) < 0:
        raise UserError("ram needs non-negative weights: it averages over the sources that changed an element")
    vectors = task_vectors(chunk)
    total, weight = torch.zeros_like(vectors[0]), torch.zeros_like(vectors[0])
    alone, count = torch.zeros_like(vectors[0]), torch.zeros_like(vectors[0])
    for vector, factor, grown in zip(vectors, chunk.weights, chunk.global_statistics, strict=True):
        changed = vector.abs().gt_(parameters.epsilon)
        vector.mul_(changed)
        total.add_(vector, alpha=factor)
        alone.add_(vector, alpha=grown)
        weight.add_(changed, alpha=factor)
        count.add_(changed)
    mean = total / torch.where(weight > 0, weight, 1.0)
    return added(chunk, torch.where(count > 1, mean, alone), 1.0)


METHOD = Method(
    name="ram",
    summary="unique changes are kept, shared changes are averaged over the sources that made them",
    paper="Reinforced Agent Merging, 2026",
    url="https://arxiv.org/abs/2601.13572",
    combine=ram,
    parameters=Ram,
    scalable=True,
    global_statistics=growth,
    preserves_base_rows=True,
    needs_base=True,
)
