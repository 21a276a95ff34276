"""RAM: what one source alone changed is kept whole, what several changed is averaged over those that did.

Reinforced Agent Merging, 2026. https://arxiv.org/abs/2601.13572
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class Ram:
    """Parameters of RAM, and of RAM+ where ``boost`` is above 0."""

    epsilon: float = option(1e-5, "an element counts as changed by a source above this distance from the base", low=0)
    boost: float = option(0.0, "RAM+: how much unique changes grow with a source's overlap (r; its paper: 0.1)", low=0)
    limit: float = option(0.2, "RAM+: the overlap counts up to this ratio (α)", low=0)


def growth(chunks: Chunks, parameters: Ram) -> list[float]:
    """RAM+'s factor of each source's unique changes: 1 + r min(shared / unique, α), over a tensor; 1 for RAM."""
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
    """The merged tensor, of the chunk's shape; where several sources changed an element it is their weighted mean.

    Raises:
        UserError: a weight is negative.
    """
    if min(chunk.weights) < 0:
        raise UserError("ram averages the sources that changed an element: their weights must not be negative")
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
    summary="what one source alone changed is kept whole, what several changed is averaged over those",
    paper="Reinforced Agent Merging, 2026",
    url="https://arxiv.org/abs/2601.13572",
    combine=ram,
    parameters=Ram,
    global_statistics=growth,
    preserves_base_rows=True,
    needs_base=True,
)
