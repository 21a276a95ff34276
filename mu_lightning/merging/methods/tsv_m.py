"""TSV-Merge: the strongest singular directions of each source's task vector, made orthogonal to each other's and added.

Gargiulo et al., Task Singular Vectors: Reducing Task Interference in Model Merging, 2024. https://arxiv.org/abs/2412.00081
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mu_lightning.merging.method import Method, Piece
from mu_lightning.merging.parameters import option
from mu_lightning.merging.spectral import decomposed, on_changed_rows, orthogonal
from mu_lightning.merging.task_vectors import added, task_vectors, weighted_sum
from mu_lightning.merging.weighting import MEAN, RAW, SUM, WEIGHTING_HELP, scaled_weights


@dataclass(frozen=True)
class TsvM:
    """Parameters of TSV-Merge."""

    scaling: float = option(1.0, "factor of the merged task vector (the paper's α)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


def interference_free(vectors: list[Tensor]) -> Tensor:
    """Of each of n matrices the first 1/n of the singular directions, orthogonalised together; [rows, columns]."""
    share = min(vectors[0].shape) // len(vectors)
    if share == 0:  # fewer directions than sources: each keeps its first
        share = 1
    parts = []
    for left, values, right in map(decomposed, vectors):
        # A direction that the source does not have is arbitrary, and would bend the others' when made orthogonal.
        count = min(share, int((values > values[0] * torch.finfo(values.dtype).eps * max(vectors[0].shape)).sum()))
        parts.append((left[:, :count], values[:count], right[:count]))
    left = torch.cat([part[0] for part in parts], 1)
    values = torch.cat([part[1] for part in parts])
    right = torch.cat([part[2] for part in parts])
    return orthogonal(left) * values @ orthogonal(right)


def tsv_m(piece: Piece, parameters: TsvM) -> Tensor:
    """Matrices by their singular vectors, other tensors by the average; of the piece's shape."""
    factors = scaled_weights(piece.weights, parameters.weighting)
    vectors = task_vectors(piece)
    if vectors[0].dim() != 2:
        return added(piece, weighted_sum(vectors, scaled_weights(piece.weights, MEAN)), parameters.scaling)
    weighted = [vector * factor for vector, factor in zip(vectors, factors, strict=True)]
    return added(piece, on_changed_rows(weighted, interference_free), parameters.scaling)


METHOD = Method(
    name="tsv_m",
    summary="strongest singular directions of the task vectors, made orthogonal to each other, on the base",
    paper="Gargiulo et al., Task Singular Vectors, 2024",
    url="https://arxiv.org/abs/2412.00081",
    combine=tsv_m,
    parameters=TsvM,
    granularity="tensor",
    local=True,
    needs_base=True,
)
