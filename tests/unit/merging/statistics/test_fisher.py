"""Fisher diagonals against gradients taken one text at a time by autograd."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from mu_lightning.merging.statistics.fisher import fisher_diagonal
from mu_lightning.utilities.errors import UserError


def test_it_is_the_mean_square_of_each_text_s_gradient_with_labels_drawn_from_the_model(
    model: nn.Module, batches: Callable
) -> None:
    found = fisher_diagonal(model, batches(6, 1), seed=3)
    generator = torch.Generator().manual_seed(3)
    model.eval()
    expected = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    for text in batches(6, 1):
        logits = model(**text).logits
        label = torch.multinomial(logits.softmax(-1), 1, generator=generator)[0, 0]
        model.zero_grad()
        (-logits.log_softmax(-1)[0, label]).backward()
        for name, parameter in model.named_parameters():
            expected[name] += parameter.grad.square() / 6
    assert found.keys() == expected.keys()
    for name, diagonal in found.items():
        torch.testing.assert_close(diagonal, expected[name], rtol=1e-4, atol=1e-8)
        assert not diagonal.is_sparse
    assert not any(module.sparse for module in model.modules() if isinstance(module, nn.Embedding))


def test_the_seed_decides_the_labels(model: nn.Module, batches: Callable) -> None:
    one, same, other = (fisher_diagonal(model, batches(6, 1), seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(diagonal, same[name]) for name, diagonal in one.items())
    assert any(not torch.equal(diagonal, other[name]) for name, diagonal in one.items())


def test_no_text_is_refused(model: nn.Module) -> None:
    with pytest.raises(UserError, match="at least one text"):
        fisher_diagonal(model, [])
