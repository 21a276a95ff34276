"""NuSLERP: spherical interpolation of two models or their task vectors, over whole tensors, rows or columns.

As in mergekit; Shoemake, Animating rotation with quaternion curves, 1985.
https://doi.org/10.1145/325334.325242
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.inner_products import vectors_of
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.slerp import share_of_second


@dataclass(frozen=True)
class NuSlerp:
    """Parameters of NuSLERP."""

    along: str = option(
        "tensor", "interpolated vectors: whole tensors, rows or columns", choices=("tensor", "rows", "columns")
    )
    scale: float = scale_option()


def nuslerp(chunk: Chunk, parameters: NuSlerp) -> torch.Tensor:
    """Interpolates two sources, or their task vectors if there is a base."""
    share = share_of_second(chunk.weights)
    shape = chunk.sources[0].shape
    first, second = (_as_vectors(vector, parameters.along) for vector in vectors_of(chunk))
    products = [
        (one.double() * other.double()).sum(-1, keepdim=True)
        for one, other in ((first, first), (first, second), (second, second))
    ]
    lengths = (products[0] * products[2]).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    cosine = (products[1] / lengths).clamp(-1, 1)
    straight = 1 - cosine.square() <= 1e-16
    angle = torch.where(straight, 1.0, cosine.acos())
    one = torch.where(straight, 1 - share, ((1 - share) * angle).sin() / angle.sin()).to(first.dtype)
    other = torch.where(straight, share, (share * angle).sin() / angle.sin()).to(first.dtype)
    merged = one * first + other * second
    merged = (merged.transpose(0, -1) if parameters.along == "columns" and len(shape) > 1 else merged).reshape(shape)
    return merged if chunk.base is None else merged + chunk.base


def _as_vectors(tensor: torch.Tensor, along: str) -> torch.Tensor:
    if along == "tensor" or tensor.dim() < 2:
        return tensor.reshape(-1)
    return tensor if along == "rows" else tensor.transpose(0, -1)


METHOD = Method(
    name="nuslerp",
    summary="spherical interpolation of two models or their task vectors, over tensors, rows or columns",
    paper="Shoemake, Animating rotation with quaternion curves, 1985 (as mergekit's nuslerp)",
    url="https://doi.org/10.1145/325334.325242",
    combine=nuslerp,
    parameters=NuSlerp,
    scalable=True,
    granularity="tensor",
    tensors_in_memory=8,
    may_use_base=True,
    min_sources=2,
    max_sources=2,
)
