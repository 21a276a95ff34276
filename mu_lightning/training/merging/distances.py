"""Distances between models with a common base."""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from mu_lightning.merging.engine.slicing import CHUNK_SIZE


@torch.no_grad()
def pairwise_distances(
    models: Mapping[str, Mapping[str, Tensor]], base: Mapping[str, Tensor]
) -> dict[tuple[str, str], float]:
    """Pairwise Euclidean distances of task vectors (model minus base), relative to the mean of their norms.

    It is 0 for equal models, about 1.4 for orthogonal task vectors of equal norm, 2 for opposite ones.

    Args:
        models: name -> state dict, with the same names and shapes. Integer tensors and tensors that the base lacks are
            ignored.
        base: state dict of the base.

    Returns:
        (name, other name) -> distance, for every pair once.
    """
    names = list(models)
    first = models[names[0]]
    products = torch.zeros(len(names), len(names), dtype=torch.float64)
    squares = torch.zeros(len(names), dtype=torch.float64)
    for key, tensor in first.items():
        if not tensor.is_floating_point() or key not in base:
            continue
        flat, start = [models[name][key].reshape(-1) for name in names], base[key].reshape(-1)
        for place in range(0, len(start), CHUNK_SIZE):  # in chunks, to limit memory
            part = torch.stack([one[place : place + CHUNK_SIZE] for one in flat]).float()
            # The first model is subtracted, so that equal models have distance 0 exactly, and close ones no
            # cancellation.
            apart = part - part[0]
            products += (apart @ apart.T).double().cpu()
            squares += (part - start[place : place + CHUNK_SIZE].to(part)).square().sum(dim=1).double().cpu()
    norms = squares.sqrt().tolist()
    found = {}
    for one, other in combinations(range(len(names)), 2):
        square = float(products[one, one] + products[other, other] - 2 * products[one, other])
        mean = (norms[one] + norms[other]) / 2
        found[names[one], names[other]] = math.sqrt(max(0.0, square)) / mean if mean else 0.0
    return found


def mean_distance(distances: Mapping[Any, float]) -> float:
    """Mean of pairwise distances; 0 for a single model."""
    return math.fsum(distances.values()) / len(distances) if distances else 0.0
