"""Karcher mean: the weighted Riemannian mean of the models' directions, scaled to the weighted mean of their norms.

Karcher, Riemannian center of mass and mollifier smoothing, 1977. https://doi.org/10.1002/cpa.3160300502
Applied to merging: https://arxiv.org/abs/2603.04972
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.inner_products import combined, unit_products
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.weighting import MEAN, scaled_weights
from mu_lightning.merging.methods.slerp import inner_products


@dataclass(frozen=True)
class Karcher:
    """Parameters of the Karcher mean."""

    iterations: int = option(10, "maximum number of iterations", low=1)
    tolerance: float = option(1e-5, "step length at which the iteration stops; smaller angles count as zero", low=0)
    scale: float = scale_option()


def karcher(chunk: Chunk, parameters: Karcher) -> torch.Tensor:
    """Iterates m ← exp_m(Σ a_i log_m(u_i)), starting from the normalized weighted sum.

    The mean is in the span of the sources: the iteration is on coefficients and uses inner products only.
    """
    weights = torch.tensor(scaled_weights(chunk.weights, MEAN), dtype=torch.float64)
    norms, cosines = unit_products(chunk.global_statistics)
    lengths = torch.where(norms > 0, norms, 1.0)
    mean = karcher_coefficients(weights * (norms > parameters.tolerance), cosines, parameters)
    return combined(chunk, mean * (weights @ norms) / lengths)


def karcher_coefficients(weights: torch.Tensor, cosines: torch.Tensor, parameters: Karcher) -> torch.Tensor:
    """Coefficients of the mean of unit vectors with the given inner products, of shape [sources]."""

    def length(coefficients: torch.Tensor) -> torch.Tensor:
        return (coefficients @ cosines @ coefficients).clamp(min=0).sqrt()

    total = weights.sum()
    if total == 0:
        return weights
    weights = weights / total
    mean = weights
    if length(mean) < parameters.tolerance:
        mean = torch.zeros_like(weights)
        mean[weights.nonzero()[0]] = 1.0
    mean = mean / length(mean)
    for _ in range(parameters.iterations):
        dots = (cosines @ mean).clamp(-1, 1)
        angles = dots.acos()
        far = angles >= parameters.tolerance
        scale = weights * torch.where(far, angles / angles.sin().clamp(min=1e-300), 0.0)
        tangent = scale - (scale @ dots) * mean
        step = length(tangent)
        if step < parameters.tolerance:
            break
        mean = step.cos() * mean + step.sin() * (tangent / step)
        mean = mean / length(mean)
    return mean


METHOD = Method(
    name="karcher",
    summary="weighted Riemannian mean of the models' directions, tensor by tensor",
    paper="Karcher, Riemannian center of mass and mollifier smoothing, 1977",
    url="https://doi.org/10.1002/cpa.3160300502",
    combine=karcher,
    parameters=Karcher,
    scalable=True,
    global_statistics=inner_products,
)
