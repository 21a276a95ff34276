"""Attention over unpadded rows with its gradient, and dropout with its own generator."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mu_lightning.utilities.adapters.torch_operators import attention, attention_gradients, softmax_gradient

Three = tuple[Tensor, Tensor, Tensor]


class Dropout:
    """Dropout: factors are 0 with probability `p`, else 1 / (1 - p).

    Args:
        p: dropout probability.
        generator: random generator; None disables dropout.
    """

    def __init__(self, p: float, generator: torch.Generator | None) -> None:
        self.p = p if generator is not None else 0.0
        self.generator = generator

    def factors(self, like: Tensor) -> Tensor:
        """Returns factors of the shape of a tensor."""
        kept = torch.empty_like(like, memory_format=torch.contiguous_format)
        return kept.bernoulli_(1 - self.p, generator=self.generator).div_(1 - self.p)

    def __call__(self, rows: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Applies dropout; also returns the function that maps the gradient."""
        if not self.p:
            return rows, lambda gradient: gradient
        factors = self.factors(rows)
        return rows * factors, lambda gradient: gradient * factors


class Attention:
    """Self-attention within each row of a batch; rows of equal length are computed together.

    Args:
        heads: number of attention heads.
        groups: (number of rows, length) of each group of rows of equal length, in order.
        dropout: dropout of the attention weights.
    """

    def __init__(self, heads: int, groups: Sequence[tuple[int, int]], dropout: Dropout) -> None:
        self._heads = heads
        self._groups = groups
        self._dropout = dropout

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, first: bool = False
    ) -> tuple[Tensor, Callable[[Tensor], Three]]:
        """Returns the attention output, of the query's shape, and its backward function.

        Args:
            query: shape (T, width), or (rows, width) for first tokens only.
            key: shape (T, width).
            value: shape (T, width).
            first: whether the query has the first token of each row only.
        """
        asking, asked = self._split(query, first), [self._split(tensor) for tensor in (key, value)]
        attend = _dropped if self._dropout.p else _plain
        found = [attend(q, k, v, self._dropout) for q, k, v in zip(asking, *asked, strict=True)]

        def back(gradient: Tensor) -> Three:
            parts = zip(self._split(gradient, first), found, strict=True)
            queries, keys, values = zip(*(back(part) for part, (_, back) in parts), strict=True)
            return _joined(queries, query), _joined(keys, key), _joined(values, value)

        return _joined([result for result, _ in found], query), back

    def _split(self, tensor: Tensor, first: bool = False) -> list[Tensor]:
        """Splits (T, width) into views (rows, heads, length, width / heads), one for each length."""
        parts, start = [], 0
        for rows, length in self._groups:
            length = 1 if first else length
            part = tensor[start : start + rows * length]
            parts.append(part.view(rows, length, self._heads, -1).transpose(1, 2))
            start += rows * length
        return parts


def _joined(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """Inverse of splitting, padded with zeros."""
    flat = [part.transpose(1, 2).reshape(-1, like.shape[1]) for part in parts]
    spare = len(like) - sum(map(len, flat))
    if spare:
        flat.append(like.new_zeros(spare, like.shape[1]))
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def _plain(query: Tensor, key: Tensor, value: Tensor, _: Dropout) -> tuple[Tensor, Callable[[Tensor], Three]]:
    result, log_sum = attention(query, key, value)

    def back(gradient: Tensor) -> Three:
        found: Three = attention_gradients(gradient, query, key, value, result, log_sum, 0.0, False)
        return found

    return result, back


def _dropped(query: Tensor, key: Tensor, value: Tensor, dropout: Dropout) -> tuple[Tensor, Callable[[Tensor], Three]]:
    scale = query.shape[-1] ** -0.5
    whole = (query @ key.transpose(2, 3)).mul_(scale).softmax(dim=-1)
    factors = dropout.factors(whole)
    weights = whole * factors

    def back(gradient: Tensor) -> Three:
        inner = (gradient @ value.transpose(2, 3)).mul_(factors)
        inner = softmax_gradient(inner, whole, -1, whole.dtype).mul_(scale)
        return inner @ key, inner.transpose(2, 3) @ query, weights.transpose(2, 3) @ gradient

    return weights @ value, back
