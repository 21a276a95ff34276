"""PyTorch's own operators for a CPU that it gives no public name: linear layers by oneDNN, and the steps of attention.

PyTorch calls the first ones itself when it compiles a model, the others inside ``scaled_dot_product_attention`` and
``softmax``. Without them (another build of PyTorch) all are None, and members are computed by PyTorch's own modules.
"""

from typing import Any

import torch


def _operator(library: str, name: str) -> Any:
    return getattr(getattr(torch.ops, library), name, None)


# (rows (T, in), weight (out, in), bias (out,), what follows it, its scalars, its algorithm) -> (T, out); its overload
# `binary` (rows, other (T, out), weight, bias, "add") adds another tensor.
linear: Any = _operator("mkldnn", "_linear_pointwise")
# A weight (out, in) in oneDNN's blocked layout, for `linear` alone.
blocked_weight: Any = _operator("mkldnn", "_reorder_linear_weight")
# (query, key, value) each (B, heads, L, width) -> what is gathered, of the query's shape, and the sums' logarithms.
attention: Any = _operator("aten", "_scaled_dot_product_flash_attention_for_cpu")
# (gradient, query, key, value, what was gathered, the sums' logarithms, dropout, causal) -> the three gradients.
attention_gradients: Any = _operator("aten", "_scaled_dot_product_flash_attention_for_cpu_backward")
# (gradient, softmax's result, dimension, dtype) -> the gradient of what went in.
softmax_gradient: Any = _operator("aten", "_softmax_backward_data")


def available() -> bool:
    """Whether PyTorch was built with oneDNN and has all of these operators."""
    operators = (linear, blocked_weight, attention, attention_gradients, softmax_gradient)
    return torch.backends.mkldnn.is_available() and None not in operators
