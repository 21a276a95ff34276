"""Isotropic merging: the summed task vectors with all singular values made equal.

Marczak et al., No Task Left Behind: Isotropic Model Merging with Common and Task-Specific Subspaces, 2025.
https://arxiv.org/abs/2502.04959
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.spectral import decomposed, merged_matrices, orthogonal
from mu_lightning.merging.methods.shared.task_vectors import weighted_sum
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, SUM, WEIGHTING_HELP

PAPER = "Marczak et al., No Task Left Behind (isotropic merging), 2025"
URL = "https://arxiv.org/abs/2502.04959"


@dataclass(frozen=True)
class IsoC:
    """Parameters of Iso-C."""

    scaling: float = option(1.0, "factor of the merged task vector (the paper's α)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


@dataclass(frozen=True)
class IsoCts(IsoC):
    """Parameters of Iso-CTS."""

    common: float = option(0.8, "share of the directions that the sources have in common (k/r)", low=0, high=1)


def isotropic(vectors: Sequence[Tensor]) -> Tensor:
    """The sum of matrices with its singular values replaced by their mean, [rows, columns]."""
    left, values, right = decomposed(weighted_sum(vectors, [1.0] * len(vectors)))
    return left @ right * values.mean()


def isotropic_subspaces(vectors: Sequence[Tensor], common: float) -> Tensor:
    """Common directions of the sum and, orthogonal to them, each source's own strongest; all equally strong.

    Args:
        vectors: matrices of one shape [rows, columns].
        common: share of the directions that is common; the rest is divided equally, the remainder being common again.
    """
    rank, count = min(vectors[0].shape), len(vectors)
    own = round((rank - int(rank * common)) / count)
    shared = rank - own * count
    if shared < 0:  # rounding up asked for more directions than there are
        own -= 1
        shared += count
    left, values, right = decomposed(weighted_sum(vectors, [1.0] * count))
    lefts, rights, strengths = [left[:, :shared].clone()], [right[:shared].clone()], [values[:shared]]
    for vector in vectors:
        left, values, right = decomposed(vector - lefts[0] @ (lefts[0].T @ vector))
        lefts.append(left[:, :own].clone())  # not the whole that it views
        rights.append(right[:own].clone())
        strengths.append(values[:own])
    return orthogonal(torch.cat(lefts, 1)) @ orthogonal(torch.cat(rights)) * torch.cat(strengths).mean()


def iso_c(chunk: Chunk, parameters: IsoC) -> Tensor:
    """Matrices by their isotropic sum, other tensors by the average; of the chunk's shape."""
    return merged_matrices(chunk, parameters.weighting, parameters.scaling, isotropic)


def iso_cts(chunk: Chunk, parameters: IsoCts) -> Tensor:
    """Matrices by isotropic common and own subspaces, other tensors by the average; of the chunk's shape."""
    merge = partial(isotropic_subspaces, common=parameters.common)
    return merged_matrices(chunk, parameters.weighting, parameters.scaling, merge)


METHODS = [
    Method(
        name="iso_c",
        summary="sum of the task vectors with all singular values made equal, on the base",
        paper=PAPER,
        url=URL,
        combine=iso_c,
        parameters=IsoC,
        granularity="tensor",
        tensors_in_memory=4.25,
        preserves_base_rows=True,
        needs_base=True,
    ),
    Method(
        name="iso_cts",
        summary="common and source-specific singular directions of the task vectors, all equally strong, on the base",
        paper=PAPER,
        url=URL,
        combine=iso_cts,
        parameters=IsoCts,
        granularity="tensor",
        tensors_in_memory=6.5,
        preserves_base_rows=True,
        needs_base=True,
    ),
]
