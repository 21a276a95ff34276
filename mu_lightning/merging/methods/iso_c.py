"""Isotropic merging: replaces the singular values of the summed task vectors by their mean.

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

    common: float = option(0.8, "share of common directions (k/r)", low=0, high=1)


def isotropic(vectors: Sequence[Tensor]) -> Tensor:
    """Sum of matrices with all singular values replaced by their mean, [rows, columns]."""
    left, values, right = decomposed(weighted_sum(vectors, [1.0] * len(vectors)))
    return left @ right * values.mean()


def isotropic_subspaces(vectors: Sequence[Tensor], common: float) -> Tensor:
    """Combines common directions of the sum with task-specific directions of each source, isotropically.

    Args:
        vectors: matrices of one shape [rows, columns].
        common: share of common directions; the others are divided equally between the sources.
    """
    rank, count = min(vectors[0].shape), len(vectors)
    own = round((rank - int(rank * common)) / count)
    shared = rank - own * count
    if shared < 0:  # rounded up to more directions than the matrix has
        own -= 1
        shared += count
    left, values, right = decomposed(weighted_sum(vectors, [1.0] * count))
    lefts, rights, strengths = [left[:, :shared].clone()], [right[:shared].clone()], [values[:shared]]
    for vector in vectors:
        left, values, right = decomposed(vector - lefts[0] @ (lefts[0].T @ vector))
        lefts.append(left[:, :own].clone())  # a copy, so that U can be freed
        rights.append(right[:own].clone())
        strengths.append(values[:own])
    return orthogonal(torch.cat(lefts, 1)) @ orthogonal(torch.cat(rights)) * torch.cat(strengths).mean()


def iso_c(chunk: Chunk, parameters: IsoC) -> Tensor:
    """Merges matrices isotropically and averages other tensors."""
    return merged_matrices(chunk, parameters.weighting, parameters.scaling, isotropic)


def iso_cts(chunk: Chunk, parameters: IsoCts) -> Tensor:
    """Merges matrices by isotropic common and task-specific subspaces and averages other tensors."""
    merge = partial(isotropic_subspaces, common=parameters.common)
    return merged_matrices(chunk, parameters.weighting, parameters.scaling, merge)


METHODS = [
    Method(
        name="iso_c",
        summary="base plus the sum of the task vectors with equal singular values",
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
        summary="base plus common and task-specific singular directions, with equal singular values",
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
