"""Spherical interpolation of two models, tensor by tensor.

Shoemake, Animating rotation with quaternion curves, 1985. https://doi.org/10.1145/325334.325242
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.inner_products import combined, gram_matrix, unit_products
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.weighting import MEAN, scaled_weights
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class Slerp:
    """Parameters of spherical interpolation."""

    colinear: float = option(0.9995, "absolute cosine above which tensors are interpolated linearly", low=0, high=1)
    scale: float = scale_option()


def inner_products(chunks: Chunks, parameters: object) -> torch.Tensor:
    """Inner products of the sources over a tensor, or of their task vectors if there is a base."""
    return gram_matrix(chunks)


def share_of_second(weights: Sequence[float]) -> float:
    """Interpolation parameter from the first source (0) to the second (1): the normalized second weight."""
    share = scaled_weights(weights, MEAN)[1]
    if not 0 <= share <= 1:
        raise UserError(f"interpolation between two models needs weights of one sign, got {weights}")
    return share


def arc(share: float, cosine: float) -> tuple[float, float]:
    """Coefficients of two unit vectors for a point on the arc between them; share 0 is the first."""
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    return math.sin((1 - share) * angle) / math.sin(angle), math.sin(share * angle) / math.sin(angle)


def slerp(chunk: Chunk, parameters: Slerp) -> torch.Tensor:
    """Computes sin((1−t)φ)/sin φ θ_0 + sin(tφ)/sin φ θ_1; t is the normalized second weight."""
    share = share_of_second(chunk.weights)
    _, cosines = unit_products(chunk.global_statistics)
    cosine = cosines[0, 1].item()
    pair = (1 - share, share) if abs(cosine) > parameters.colinear else arc(share, cosine)
    return combined(chunk, torch.tensor(pair, dtype=torch.float64))


METHOD = Method(
    name="slerp",
    summary="spherical interpolation of two models by their weights",
    paper="Shoemake, Animating rotation with quaternion curves, 1985",
    url="https://doi.org/10.1145/325334.325242",
    combine=slerp,
    parameters=Slerp,
    scalable=True,
    global_statistics=inner_products,
    min_sources=2,
    max_sources=2,
)
