"""Passthrough: one model as it is, or scaled; with per-tensor parameters it scales parts of a model.

mergekit's method of that name. https://github.com/arcee-ai/mergekit/blob/main/docs/merge_methods.md
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option


@dataclass(frozen=True)
class Passthrough:
    """Parameters of passthrough."""

    scale: float = option(1.0, "factor of every element")


def passthrough(chunk: Chunk, parameters: Passthrough) -> torch.Tensor:
    """The only source times the scale, of the chunk's shape."""
    (source,) = chunk.sources
    return source * parameters.scale


METHOD = Method(
    name="passthrough",
    summary="one model as it is, or scaled",
    paper="mergekit, passthrough, 2023",
    url="https://github.com/arcee-ai/mergekit/blob/main/docs/merge_methods.md",
    combine=passthrough,
    parameters=Passthrough,
    row_independent=True,
    takes_weights=False,
    max_sources=1,
)
