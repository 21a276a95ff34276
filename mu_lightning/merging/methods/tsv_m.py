"""TSV-Merge: the strongest singular directions of each source's task vector, made orthogonal to each other's and added.

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
    """Of each of n matrices the first 1/n of the singular directions, orthogonalised together; [rows, columns]."""
    share = min(vectors[0].shape) // len(vectors)
    if share == 0:  # fewer directions than sources: each keeps its first
        share = 1
    parts = []
    for left, values, right in map(decomposed, vectors):
        # A direction that the source does not have is arbitrary, and would bend the others' when made orthogonal.
        count = min(share, int((values > values[0] * torch.finfo(values.dtype).eps * max(vectors[0].shape)).sum()))
        parts.append(
            (left[:, :count].clone(), values[:count], right[:count].clone())
        )  # copies, so that U and V can be freed
    left = torch.cat([part[0] for part in parts], 1)
    values = torch.cat([part[1] for part in parts])
    right = torch.cat([part[2] for part in parts])
    return orthogonal(left) * values @ orthogonal(right)


def tsv_m(chunk: Chunk, parameters: TsvM) -> Tensor:
    """Matrices by their singular vectors, other tensors by the average; of the chunk's shape."""
    return merged_matrices(chunk, parameters.weighting, parameters.scaling, interference_free)


METHOD = Method(
    name="tsv_m",
    summary="strongest singular directions of the task vectors, made orthogonal to each other, on the base",
    paper="Gargiulo et al., Task Singular Vectors, 2024",
    url="https://arxiv.org/abs/2412.00081",
    combine=tsv_m,
    parameters=TsvM,
    granularity="tensor",
    tensors_in_memory=6,
    preserves_base_rows=True,
    needs_base=True,
)
