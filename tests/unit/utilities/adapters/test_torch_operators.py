"""Operators without a public name still compute what PyTorch's public functions compute."""

import pytest
import torch
from torch.nn import functional

from mu_lightning.utilities.adapters import torch_operators

CHANGED = "PyTorch has renamed an operator or changed what it takes: mend adapters/torch_operators.py"

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")


def drawn(*shape: int, gradient: bool = False) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).requires_grad_(gradient)


def equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=lambda text: f"{CHANGED}\n{text}")


def test_this_pytorch_has_them_all() -> None:
    assert torch_operators.available(), CHANGED


@pytest.mark.parametrize("after", ["none", "gelu"])
@pytest.mark.parametrize("blocked", [False, True])
def test_a_linear_layer_is_that_of_pytorch(after: str, blocked: bool) -> None:
    rows, weight, bias = drawn(32, 16), drawn(24, 16), drawn(24)
    expected = functional.linear(rows, weight, bias)
    laid_out = torch_operators.blocked_weight(weight) if blocked else weight
    found = torch_operators.linear(rows, laid_out, bias, after, [], "none")
    equal(found, functional.gelu(expected) if after == "gelu" else expected)


def test_a_linear_layer_adds_another_tensor() -> None:
    rows, weight, bias, other = drawn(32, 16), drawn(24, 16), drawn(24), drawn(32, 24)
    found = torch_operators.linear.binary(rows, other, weight, bias, "add")
    equal(found, functional.linear(rows, weight, bias) + other)


def test_attention_and_its_gradients_are_those_of_pytorch() -> None:
    query, key, value = (drawn(2, 3, length, 8, gradient=True) for length in (4, 5, 5))
    expected = functional.scaled_dot_product_attention(query, key, value)
    gradient = drawn(*expected.shape)
    gradients = torch.autograd.grad(expected, (query, key, value), gradient)
    with torch.no_grad():
        found, sums = torch_operators.attention(query, key, value)
        own = torch_operators.attention_gradients(gradient, query, key, value, found, sums, 0.0, False)
    equal(found, expected)
    for one, other in zip(own, gradients, strict=True):
        equal(one, other)


def test_the_gradient_of_softmax_is_that_of_pytorch() -> None:
    rows = drawn(6, 9, gradient=True)
    result = rows.softmax(dim=-1)
    gradient = drawn(6, 9)
    (expected,) = torch.autograd.grad(result, rows, gradient)
    equal(torch_operators.softmax_gradient(gradient, result.detach(), -1, result.dtype), expected)
