"""How far models that started from one base have drifted apart."""

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
    """Euclidean distance of each pair's task vectors (model minus base), relative to the mean of their norms.

    0 for equal models, about 1.4 for orthogonal task vectors of one length, 2 for opposite ones.

    Args:
        models: name -> state dict; all have the same names and shapes. What is not floating point is passed over, and
            so is what the base lacks.
        base: the state dict that they started from.

    Returns:
        (name, other name) -> distance, every pair once, in the models' order.
    """
    names = list(models)
    first = models[names[0]]
    products = torch.zeros(len(names), len(names), dtype=torch.float64)
    squares = torch.zeros(len(names), dtype=torch.float64)
    for key, tensor in first.items():
        if not tensor.is_floating_point() or key not in base:
            continue
        flat, start = [models[name][key].reshape(-1) for name in names], base[key].reshape(-1)
        for place in range(0, len(start), CHUNK_SIZE):  # never all of a large tensor of every model at once
            part = torch.stack([one[place : place + CHUNK_SIZE] for one in flat]).float()
            # Distances are taken between what remains once the first is subtracted: equal models give exactly 0, and
            # close ones lose no digits to a large common part.
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
    """The mean of the pairwise distances; 0 for a single model."""
    return math.fsum(distances.values()) / len(distances) if distances else 0.0
