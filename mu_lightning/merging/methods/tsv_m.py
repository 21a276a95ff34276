"""TSV-Merge: keeps the top singular directions of each task vector, orthogonalizes them across sources and adds them.

Gargiulo et al., Task Singular Vectors: Reducing Task Interference in Model Merging, 2024. https://arxiv.org/abs/2412.00081
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.spectral import decomposed, merged_matrices, orthogonal
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, SUM, WEIGHTING_HELP


@dataclass(frozen=True)
class TsvM:
    """Parameters of TSV-Merge."""

    scaling: float = option(1.0, "factor of the merged task vector (the paper's α)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


def interference_free(vectors: Sequence[Tensor]) -> Tensor:
    """Orthogonalizes the top 1/n singular directions of each of n matrices, [rows, columns]."""
    share = min(vectors[0].shape) // len(vectors)
    if share == 0:  # fewer directions than sources: each keeps one
        share = 1
    parts = []
    for left, values, right in map(decomposed, vectors):
        # Directions beyond the rank of a matrix are arbitrary and would distort the others when orthogonalized.
        count = min(share, int((values > values[0] * torch.finfo(values.dtype).eps * max(vectors[0].shape)).sum()))
        # Copies, so that the full U and V are freed.
        parts.append((left[:, :count].clone(), values[:count], right[:count].clone()))
    left = torch.cat([part[0] for part in parts], 1)
    values = torch.cat([part[1] for part in parts])
    right = torch.cat([part[2] for part in parts])
    return orthogonal(left) * values @ orthogonal(right)


def tsv_m(chunk: Chunk, parameters: TsvM) -> Tensor:
    """Merges matrices by their singular vectors and averages other tensors."""
    return merged_matrices(chunk, parameters.weighting, parameters.scaling, interference_free)


METHOD = Method(
    name="tsv_m",
    summary="base plus the top singular directions of the task vectors, orthogonalized",
    paper="Gargiulo et al., Task Singular Vectors, 2024",
    url="https://arxiv.org/abs/2412.00081",
    combine=tsv_m,
    parameters=TsvM,
    granularity="tensor",
    tensors_in_memory=6,
    preserves_base_rows=True,
    needs_base=True,
)
