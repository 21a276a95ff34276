"""Learns AdaMerging's coefficients by entropy minimization on unlabeled text.

Yang et al., AdaMerging: Adaptive Model Merging for Multi-Task Learning, 2023. https://arxiv.org/abs/2310.02575
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mu_lightning.merging.methods.adamerging import LAYER, AdaMerging
from mu_lightning.merging.statistics.fisher import sparse_embeddings

State = Mapping[str, Tensor]


def learned_coefficients(
    model: nn.Module,
    base: State,
    sources: Mapping[str, State],
    fixed: State,
    batches: Iterable[Mapping[str, Tensor]],
    parameters: AdaMerging,
) -> dict[str, dict[str, Tensor]]:
    """Learns the λ of θ_base + Σ λ_i τ_i that minimize the entropy of the predictions, with one Adam step per batch.

    The merge is linear in λ: ∂/∂λ_i is the inner product of the gradient with τ_i. Neither task vectors nor an autograd
    graph of the merge are kept in memory, and the state dicts may be memory-mapped.

    Args:
        model: a classifier of the sources' architecture, on the device of the computation.
        base: state dict of the base; its tensors get coefficients.
        sources: source name -> state dict.
        fixed: merged tensors that the base lacks (a head).
        batches: unlabeled text, one batch per step.
        parameters: parameters of the method.

    Returns:
        Source name -> tensor name -> λ, a scalar tensor on the CPU.
    """
    model.eval()
    device = next(model.parameters()).device
    names = [name for name in base if name not in fixed and base[name].is_floating_point()]
    column = {name: place if parameters.coefficients == LAYER else 0 for place, name in enumerate(names)}
    learned = torch.full((len(sources), max(column.values()) + 1), parameters.initial, requires_grad=True)
    optimizer = torch.optim.Adam([learned], lr=parameters.learning_rate)
    still = {name: tensor.to(device).float() for name, tensor in fixed.items() if tensor.is_floating_point()}

    def vector(source: str, name: str) -> Tensor:
        return sources[source][name].to(device).float() - base[name].to(device).float()

    with sparse_embeddings(model):
        for batch in batches:
            merged = {}
            for name in names:
                tensor = base[name].to(device, torch.float32, copy=True)
                for index, source in enumerate(sources):
                    tensor.add_(vector(source, name), alpha=learned[index, column[name]].item())
                merged[name] = tensor.requires_grad_()
            logits = functional_call(model, merged | still, (), dict(batch)).logits.float()
            entropy = -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1).mean()
            gradients = torch.autograd.grad(entropy, list(merged.values()), allow_unused=True)
            slope = torch.zeros_like(learned)
            for name, gradient in zip(names, gradients, strict=True):
                if gradient is None:
                    continue
                for index, source in enumerate(sources):
                    along = vector(source, name)
                    if gradient.is_sparse:
                        rows = gradient.coalesce()
                        product = (rows.values() * along[rows.indices()[0]]).sum()
                    else:
                        product = (gradient * along).sum()
                    slope[index, column[name]] += product.cpu()
            learned.grad = slope
            optimizer.step()
    return {
        source: {name: learned[index, column[name]].detach().clone() for name in names}
        for index, source in enumerate(sources)
    }
