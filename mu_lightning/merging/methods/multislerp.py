"""Multi-SLERP: a weighted mean on the sphere, computed in the tangent space at the mean direction.

Goddard, Multi-SLERP, 2025. https://goddard.blog/posts/multislerp-wow-what-a-cool-idea
"""

import math
from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.inner_products import combined, unit_products
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, scaled_weights
from mu_lightning.merging.methods.slerp import inner_products
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class MultiSlerp:
    """Parameters of Multi-SLERP."""

    weighting: str = option(MEAN, "mean: weights sum to 1; raw: as given", choices=(MEAN, RAW))
    scale: float = scale_option()


def multislerp(chunk: Chunk, parameters: MultiSlerp) -> torch.Tensor:
    """Computes the spherical mean of the sources, or of their task vectors if there is a base.

    The computation is on coefficients of the unit vectors, whose inner products are known: the mean direction m, the
    mean of the tangents u_i − (u_i·m) m, and the exponential map. The norm is the weighted mean of the norms.

    Raises:
        UserError: the weighted directions cancel: the mean direction is undefined.
    """
    weights = torch.tensor(scaled_weights(chunk.weights, parameters.weighting), dtype=torch.float64)
    norms, cosines = unit_products(chunk.global_statistics)
    length = _length(weights, cosines)
    if length < 1e-8 and bool((norms > 0).any()):
        raise UserError(f"{chunk.name}: the weighted directions of the sources cancel: the mean direction is undefined")
    mean = weights / max(length, 1e-300)
    tangent = weights - (weights @ cosines @ mean) * mean
    angle = _length(tangent, cosines)
    on_sphere = mean if angle < 1e-12 else mean * math.cos(angle) + tangent * (math.sin(angle) / angle)
    lengths = torch.where(norms > 0, norms, 1.0)
    return combined(chunk, on_sphere * (weights @ norms) / lengths)


def _length(coefficients: torch.Tensor, cosines: torch.Tensor) -> float:
    return (coefficients @ cosines @ coefficients).clamp(min=0).sqrt().item()


METHOD = Method(
    name="multislerp",
    summary="weighted spherical mean of models or task vectors, by one step in the tangent space",
    paper="Goddard, Multi-SLERP, 2025",
    url="https://goddard.blog/posts/multislerp-wow-what-a-cool-idea",
    combine=multislerp,
    parameters=MultiSlerp,
    scalable=True,
    global_statistics=inner_products,
    may_use_base=True,
)
