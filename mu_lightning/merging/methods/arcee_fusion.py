"""Arcee Fusion: the most important elements of a model replace those of the base, by a threshold for each tensor.

As in mergekit (https://arcee.ai). The importance of an element is its distance from the base times the Kullback-Leibler
divergence between the softmax of its row in the model and in the base.
"""

import torch

from mu_lightning.merging.method import Chunk, Chunks, Method, base_of
from mu_lightning.merging.method_parameters import NoParameters
from mu_lightning.merging.methods.shared.order_statistics import kth_largest
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors


def importance(chunk: Chunk) -> torch.Tensor:
    """Importance of each element, non-negative, of the shape of the chunk."""
    (source,), base = chunk.sources, base_of(chunk)
    if source.dim() == 0:
        return torch.zeros_like(source)
    model, reference = source.double().log_softmax(-1), base.double().log_softmax(-1)
    divergence = (model.exp() * (model - reference)).sum(-1, keepdim=True).clamp(min=0)
    return (source - base).abs() * divergence.to(source.dtype)


def threshold(chunks: Chunks, parameters: NoParameters) -> float:
    """Importance threshold: the median plus 1.5 interquartile ranges; quartiles are not interpolated."""
    # Position i of n in ascending order is rank n - i in descending order.
    ranks = [chunks.total - int(share * (chunks.total - 1)) for share in (0.25, 0.5, 0.75)]
    (first, median, third), *_ = kth_largest(chunks, lambda chunk: [importance(chunk)], [ranks])
    return median + 1.5 * (third - first)


def arcee_fusion(chunk: Chunk, parameters: NoParameters) -> torch.Tensor:
    """The base with the important elements of the source; `chunk.global_statistics` is the threshold."""
    (vector,) = task_vectors(chunk)
    return added(chunk, torch.where(importance(chunk) >= chunk.global_statistics, vector, 0.0), 1.0)


METHOD = Method(
    name="arcee_fusion",
    summary="base with the most important elements of one model",
    paper="Arcee Fusion, as in mergekit, 2025",
    url="https://arcee.ai",
    combine=arcee_fusion,
    parameters=NoParameters,
    granularity="rows",
    global_statistics=threshold,
    uses_order_statistics=True,
    preserves_base_rows=True,
    needs_base=True,
    takes_weights=False,
    idempotent=True,
    max_sources=1,
)
