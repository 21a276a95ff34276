"""Arcee Fusion: only the elements of a model that matter most replace the base's, by a threshold that the tensor sets.

mergekit's method of that name (https://arcee.ai). An element's importance is its distance from the base times the
Kullback-Leibler divergence between the softmaxes of its row in the model and in the base.
"""

import torch

from mu_lightning.merging.method import Method, Piece, View, base_of
from mu_lightning.merging.method_parameters import NoParameters
from mu_lightning.merging.methods.shared.order_statistics import kth_largest
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors


def importance(piece: Piece) -> torch.Tensor:
    """Each element's importance, of the piece's shape, never negative."""
    (source,), base = piece.sources, base_of(piece)
    if source.dim() == 0:
        return torch.zeros_like(source)
    model, reference = source.double().log_softmax(-1), base.double().log_softmax(-1)
    divergence = (model.exp() * (model - reference)).sum(-1, keepdim=True).clamp(min=0)
    return (source - base).abs() * divergence.to(source.dtype)


def threshold(view: View, parameters: NoParameters) -> float:
    """Median plus 1.5 interquartile ranges of the importance, the quartiles being elements of the sorted tensor."""
    # The element at position i of n in ascending order is the one of rank n - i from the top.
    ranks = [view.total - int(share * (view.total - 1)) for share in (0.25, 0.5, 0.75)]
    (first, median, third), *_ = kth_largest(view, lambda piece: [importance(piece)], [ranks])
    return median + 1.5 * (third - first)


def arcee_fusion(piece: Piece, parameters: NoParameters) -> torch.Tensor:
    """The base with the important elements of the source, of the piece's shape. `piece.survey` is the threshold."""
    (vector,) = task_vectors(piece)
    return added(piece, torch.where(importance(piece) >= piece.survey, vector, 0.0), 1.0)


METHOD = Method(
    name="arcee_fusion",
    summary="the base with those elements of one model that matter most",
    paper="Arcee Fusion, as in mergekit, 2025",
    url="https://arcee.ai",
    combine=arcee_fusion,
    parameters=NoParameters,
    granularity="rows",
    survey=threshold,
    selects=True,
    local=True,
    needs_base=True,
    takes_weights=False,
    keeps_equal=True,
    max_sources=1,
)
