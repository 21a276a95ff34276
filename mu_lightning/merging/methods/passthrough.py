"""Passthrough: copies one model, optionally scaled; overrides scale single tensors.

As in mergekit. https://github.com/arcee-ai/mergekit/blob/main/docs/merge_methods.md
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option


@dataclass(frozen=True)
class Passthrough:
    """Parameters of passthrough."""

    scale: float = option(1.0, "scaling factor")


def passthrough(chunk: Chunk, parameters: Passthrough) -> torch.Tensor:
    """Multiplies the source by the scale."""
    (source,) = chunk.sources
    return source * parameters.scale


METHOD = Method(
    name="passthrough",
    summary="copy of one model, optionally scaled",
    paper="mergekit, passthrough, 2023",
    url="https://github.com/arcee-ai/mergekit/blob/main/docs/merge_methods.md",
    combine=passthrough,
    parameters=Passthrough,
    row_independent=True,
    takes_weights=False,
    max_sources=1,
)
