"""The three products of a linear layer in training, float32 ones by oneDNN, and the other steps of a layer.

Plain PyTorch gives float32 products on a CPU to MKL, which on AMD's processors runs at half the speed or less, and
bfloat16 ones to oneDNN. Each function gives a result and, where it is differentiated, a function from the result's
gradient to those of its inputs.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

_aten = torch.ops.aten
_linear: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)

Gradients = tuple[Tensor, ...]
Back = Callable[..., Gradients]


def available() -> bool:
    """Whether PyTorch was built with oneDNN, and with the operators that this module calls."""
    return torch.backends.mkldnn.is_available() and _linear is not None


def filled(rows: int) -> int:
    """What so many rows are filled up to: one of 16 numbers to each power of two, from 512 on; else a multiple of 32.

    oneDNN compiles a kernel for every new number, and keeps the last 1,024.
    """
    return rows + -rows % max(32, 2 ** rows.bit_length() // 32)


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None, plus: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias + plus``, shapes (T, in), (out, in), (out,) and (T, out); any strides."""
    if plus is None:
        result: Tensor = _linear(rows, weight, bias, "none", [], "")
    else:
        result = _linear.binary(rows, plus, weight, bias, "add")
    return result


def linear(
    rows: Tensor, part: nn.Linear, plus: Tensor | None = None, lower: torch.dtype | None = None
) -> tuple[Tensor, Back]:
    """A linear layer, (T, in) to (T, out); and from the result's gradient those of rows, weight and bias.

    The gradients' function takes a second tensor that is added to the gradient of the rows.

    Args:
        rows: shape (T, in).
        part: the layer.
        plus: shape (T, out), added to the result; its gradient is the result's own.
        lower: the type of what is multiplied, and of what comes out but for `plus`; None: float32.
    """
    weight, bias = part.weight.detach(), part.bias.detach()
    if lower is not None:
        return _lower(rows.to(lower), weight.to(lower), bias.to(lower), plus)

    def back(gradient: Tensor, plus: Tensor | None = None) -> Gradients:
        if weight.shape[0] > weight.shape[1]:  # the first factor is copied, transposed: the narrower one
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
    """Layer normalization of (T, width); gradients of rows, weight and bias."""
    shape, weight, bias = list(part.normalized_shape), part.weight.detach(), part.bias.detach()
    result, mean, deviation = _aten.native_layer_norm(rows, shape, weight, bias, part.eps)

    def back(gradient: Tensor) -> Gradients:
        found: Gradients = _aten.native_layer_norm_backward(
            gradient, rows, shape, mean, deviation, weight, bias, [True, True, True]
        )
        return found

    return result, back
