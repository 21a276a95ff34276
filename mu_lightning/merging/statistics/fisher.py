"""Diagonal Fisher information of a classifier, with labels sampled from its predictions.

Matena and Raffel, Merging Models with Fisher-Weighted Averaging, 2021. https://arxiv.org/abs/2111.09832
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mu_lightning.utilities.errors import UserError


def fisher_diagonal(model: nn.Module, texts: Iterable[Mapping[str, Tensor]], seed: int = 0) -> dict[str, Tensor]:
    """Computes the mean over texts of (d log p(y | x) / dθ)², with y sampled from the model's p(· | x).

    Args:
        model: the classifier; it is set to evaluation mode.
        texts: batches of one text each: gradients are squared per text.
        seed: random seed for sampling labels.

    Returns:
        Parameter name -> Fisher diagonal, of the parameter's shape, on the model's device.

    Raises:
        UserError: no texts are given.
    """
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    sums = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    count = 0
    with sparse_embeddings(model):
        for text in texts:
            logits = model(**text).logits.float()
            chances = torch.softmax(logits.detach(), -1).cpu()
            label = torch.multinomial(chances, 1, generator=generator)[:, 0].to(logits.device)
            loss = nn.functional.cross_entropy(logits, label)
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            for name, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None and gradient.is_sparse:
                    rows = gradient.coalesce()
                    sums[name].index_add_(0, rows.indices()[0], rows.values().square())
                elif gradient is not None:
                    sums[name].addcmul_(gradient, gradient)
            count += 1
    if count == 0:
        raise UserError("Fisher information needs at least one text")
    return {name: total.div_(count) for name, total in sums.items()}


@contextmanager
def sparse_embeddings(model: nn.Module) -> Iterator[None]:
    """Uses sparse gradients for embeddings: a text reads few rows."""
    changed = [module for module in model.modules() if isinstance(module, nn.Embedding) and not module.sparse]
    for module in changed:
        module.sparse = True
    try:
        yield
    finally:
        for module in changed:
            module.sparse = False
