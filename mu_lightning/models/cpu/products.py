"""Linear layers and layer normalization with gradients, using oneDNN for float32.

On a CPU, PyTorch uses oneDNN for bfloat16 products and MKL for float32 products, which has half the speed or less on
AMD CPUs. Each function returns its result and, where needed, the function from the gradient of the result to those of
its inputs.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mu_lightning.utilities.adapters import torch_operators as onednn

_aten = torch.ops.aten

Gradients = tuple[Tensor, ...]
Back = Callable[..., Gradients]


def bucket_size(rows: int) -> int:
    """Rounds the row count up to its bucket: 16 buckets per power of two from 512 on, else multiples of 32.

    oneDNN compiles a kernel for every row count and caches the last 1,024.
    """
    return rows + -rows % max(32, 2 ** rows.bit_length() // 32)


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None, plus: Tensor | None = None) -> Tensor:
    """Computes ``rows @ weight.T + bias + plus``; shapes (T, in), (out, in), (out,) and (T, out), any strides."""
    if plus is None:
        result: Tensor = onednn.linear(rows, weight, bias, "none", [], "")
    else:
        result = onednn.linear.binary(rows, plus, weight, bias, "add")
    return result


def linear(
    rows: Tensor, part: nn.Linear, plus: Tensor | None = None, lower: torch.dtype | None = None
) -> tuple[Tensor, Back]:
    """Applies a linear layer, (T, in) to (T, out); also returns the backward function for rows, weight and bias.

    The backward function takes an optional tensor to add to the gradient of the rows.

    Args:
        rows: shape (T, in).
        part: the layer.
        plus: shape (T, out), added to the result; its gradient is that of the result.
        lower: dtype of the product, and of the result without `plus`; None for float32.
    """
    weight, bias = part.weight.detach(), part.bias.detach()
    if lower is not None:
        return _lower(rows.to(lower), weight.to(lower), bias.to(lower), plus)

    def back(gradient: Tensor, plus: Tensor | None = None) -> Gradients:
        if weight.shape[0] > weight.shape[1]:  # the first factor is copied: use the narrower one
            of_weight = product(rows.t(), gradient.t()).t().contiguous()
        else:
            of_weight = product(gradient.t(), rows.t())
        return product(gradient, weight.t(), plus=plus), of_weight, gradient.sum(dim=0)

    return product(rows, weight, bias, plus), back


def _lower(rows: Tensor, weight: Tensor, bias: Tensor, plus: Tensor | None) -> tuple[Tensor, Back]:
    def back(gradient: Tensor, plus: Tensor | None = None) -> Gradients:
        of_bias = gradient.sum(dim=0, dtype=torch.float32)
        gradient = gradient.to(weight.dtype)
        of_rows = gradient @ weight
        return of_rows if plus is None else plus + of_rows, (gradient.t() @ rows).float(), of_bias

    result = nn.functional.linear(rows, weight, bias)
    return result if plus is None else plus + result, back


def norm(rows: Tensor, part: nn.LayerNorm) -> tuple[Tensor, Back]:
    """Applies layer normalization to (T, width); also returns the backward function for rows, weight and bias."""
    shape, weight, bias = list(part.normalized_shape), part.weight.detach(), part.bias.detach()
    result, mean, deviation = _aten.native_layer_norm(rows, shape, weight, bias, part.eps)

    def back(gradient: Tensor) -> Gradients:
        found: Gradients = _aten.native_layer_norm_backward(
            gradient, rows, shape, mean, deviation, weight, bias, [True, True, True]
        )
        return found

    return result, back
