"""Consensus merging with TALL masks: keeps elements of the summed task vectors that at least two sources select.

Wang et al., Localizing Task Information for Improved Model Merging and Compression, 2024. https://arxiv.org/abs/2405.07813
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors, weighted_sum
from mu_lightning.merging.methods.shared.weighting import MEAN, RAW, SUM, WEIGHTING_HELP, scaled_weights


@dataclass(frozen=True)
class TallMask:
    """Parameters of consensus merging."""

    mask: float = option(
        0.4, "a source selects elements with |τ_i| ≥ mask · |τ − τ_i| (the paper's λ, 0.2 to 0.6)", low=0
    )
    agreement: int = option(2, "number of sources that must select an element (k)", low=0)
    scaling: float = option(0.3, "factor of the merged task vector (α)")
    weighting: str = option(SUM, WEIGHTING_HELP, choices=(SUM, MEAN, RAW))


def tall_mask(chunk: Chunk, parameters: TallMask) -> torch.Tensor:
    """Computes θ_base + α m ∘ τ with the sum τ of the task vectors and the consensus mask m."""
    vectors = task_vectors(chunk)
    total = weighted_sum(vectors, scaled_weights(chunk.weights, parameters.weighting))
    votes = torch.zeros_like(total)
    for vector in vectors:
        votes.add_(vector.abs().ge_((total - vector).abs_().mul_(parameters.mask)))
    return added(chunk, total.mul_(votes.ge_(parameters.agreement)), parameters.scaling)


METHOD = Method(
    name="tall_mask",
    summary="base plus the sum of the task vectors where at least two sources agree (consensus merging)",
    paper="Wang et al., Localizing Task Information (TALL masks), 2024",
    url="https://arxiv.org/abs/2405.07813",
    combine=tall_mask,
    parameters=TallMask,
    preserves_base_rows=True,
    needs_base=True,
)
