"""RegMean: merges linear layers by least squares on each source's inputs.

Jin et al., Dataless Knowledge Fusion by Merging Weights of Language Models, 2022. https://arxiv.org/abs/2212.09849
RegMean++: the same formula with Gram matrices of the merged model's inputs, layer by layer.
Nguyen et al., RegMean++: Enhancing Effectiveness and Generalization of Regression Mean, 2025. https://arxiv.org/abs/2508.03121
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.weighting import MEAN, scaled_weights
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class RegMean:
    """Parameters of RegMean."""

    reduction: float = option(
        0.9, "factor of off-diagonal elements of the Gram matrices (the paper's α)", low=0, high=1
    )
    scale: float = scale_option()


def regmean(chunk: Chunk, parameters: RegMean) -> torch.Tensor:
    """Computes (Σ w_i W_i G_i)(Σ w_i G_i)⁻¹ of shape [out, in]; tensors without Gram matrices are averaged.

    `chunk.statistics` holds G_i = Xᵀ X of shape [in, in] over the inputs X of the layer. The inverse is a
    pseudo-inverse in float64, relative to the average: directions without inputs keep the average.

    Raises:
        UserError: a Gram matrix with a wrong shape, or one that is missing for some sources.
    """
    factors = scaled_weights(chunk.weights, MEAN)
    first = chunk.sources[0]
    average = first.clone()
    for source, factor in zip(chunk.sources[1:], factors[1:], strict=True):
        average.add_(source - first, alpha=factor)
    statistics = list(chunk.statistics or ())
    if all(each is None for each in statistics):
        return average
    size = average.shape[-1]
    total = torch.zeros(size, size, dtype=torch.float64, device=average.device)
    aim = torch.zeros(average.shape, dtype=torch.float64, device=average.device)
    for source, gram, factor in zip(chunk.sources, statistics, factors, strict=True):
        if average.dim() != 2 or gram is None or gram.shape != total.shape:
            raise UserError(f"{chunk.name}: every source needs a Gram matrix of shape [{size}, {size}]")
        reduced = gram.double() * parameters.reduction
        reduced.diagonal().copy_(gram.double().diagonal())
        total += factor * reduced
        aim += factor * (source - average).double() @ reduced
    return average + (aim @ torch.linalg.pinv(total, hermitian=True)).to(average.dtype)


METHODS = [
    Method(
        name="regmean",
        summary="regression on the sources' inputs for linear layers, average for the rest",
        paper="Jin et al., Dataless Knowledge Fusion (RegMean), 2022",
        url="https://arxiv.org/abs/2212.09849",
        combine=regmean,
        parameters=RegMean,
        scalable=True,
        granularity="tensor",
        tensors_in_memory=4,
        row_independent=True,
        needs_statistics="Gram matrices of the inputs of linear layers",
    ),
    Method(
        name="regmean_plus",
        summary="RegMean on the inputs of the merged model, layer by layer",
        paper="Nguyen et al., RegMean++, 2025",
        url="https://arxiv.org/abs/2508.03121",
        combine=regmean,
        parameters=RegMean,
        scalable=True,
        granularity="tensor",
        tensors_in_memory=4,
        row_independent=True,
        needs_statistics="Gram matrices of the inputs of linear layers in the merged model",
    ),
]
