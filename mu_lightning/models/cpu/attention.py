"""Attention within rows that lie end to end, and its gradient; dropout from a generator of its own."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_aten = torch.ops.aten

Three = tuple[Tensor, Tensor, Tensor]


class Dropout:
    """Dropout's factors: 0 with a probability of `p`, else 1 / (1 - p).

    Args:
        generator: where the random numbers come from; None: nothing is dropped.
    """

    def __init__(self, p: float, generator: torch.Generator | None) -> None:
        self.p = p if generator is not None else 0.0
        self.generator = generator

    def factors(self, like: Tensor) -> Tensor:
        """Factors in the shape of a tensor."""
        kept = torch.empty_like(like, memory_format=torch.contiguous_format)
        return kept.bernoulli_(1 - self.p, generator=self.generator).div_(1 - self.p)

    def __call__(self, rows: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """What dropout leaves of a tensor, and the same of its gradient."""
        if not self.p:
            return rows, lambda gradient: gradient
        factors = self.factors(rows)
        return rows * factors, lambda gradient: gradient * factors


class Attention:
    """Self-attention within each row of a batch, for all rows of one length together.

    Args:
        heads: attention heads.
        groups: the number and the length of rows of one length, in the order in which they lie.
        dropout: of the attention's weights.
    """

    def __init__(self, heads: int, groups: Sequence[tuple[int, int]], dropout: Dropout) -> None:
        self._heads = heads
        self._groups = groups
        self._dropout = dropout

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, first: bool = False
    ) -> tuple[Tensor, Callable[[Tensor], Three]]:
        """What the tokens gather, of the query's shape; and from its gradient those of query, key and value.

        Args:
            query: shape (T, width), or of each row's first token alone: (rows, width).
            key: shape (T, width).
            value: shape (T, width).
            first: whether the query is of the first tokens alone.
        """
        asking, asked = self._cut(query, first), [self._cut(tensor) for tensor in (key, value)]
        attend = _dropped if self._dropout.p else _plain
        found = [attend(q, k, v, self._dropout) for q, k, v in zip(asking, *asked, strict=True)]

        def back(gradient: Tensor) -> Three:
            parts = zip(self._cut(gradient, first), found, strict=True)
            queries, keys, values = zip(*(back(part) for part, (_, back) in parts), strict=True)
            return _joined(queries, query), _joined(keys, key), _joined(values, value)

        return _joined([result for result, _ in found], query), back

    def _cut(self, tensor: Tensor, first: bool = False) -> list[Tensor]:
        """(T, width) as one tensor (rows, heads, length, width / heads) for each length; views."""
        parts, start = [], 0
        for rows, length in self._groups:
            length = 1 if first else length
            part = tensor[start : start + rows * length]
            parts.append(part.view(rows, length, self._heads, -1).transpose(1, 2))
            start += rows * length
        return parts


def _joined(parts: Sequence[Tensor], like: Tensor) -> Tensor:
    """The opposite of cutting, with zeros where no row lies."""
    flat = [part.transpose(1, 2).reshape(-1, like.shape[1]) for part in parts]
    spare = len(like) - sum(map(len, flat))
    if spare:
        flat.append(like.new_zeros(spare, like.shape[1]))
    return flat[0] if len(flat) == 1 else torch.cat(flat)


def _plain(query: Tensor, key: Tensor, value: Tensor, _: Dropout) -> tuple[Tensor, Callable[[Tensor], Three]]:
    result, log_sum = _aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)

    def back(gradient: Tensor) -> Three:
        found: Three = _aten._scaled_dot_product_flash_attention_for_cpu_backward(
            gradient, query, key, value, result, log_sum, 0.0, False
        )
        return found

    return result, back


def _dropped(query: Tensor, key: Tensor, value: Tensor, dropout: Dropout) -> tuple[Tensor, Callable[[Tensor], Three]]:
    scale = query.shape[-1] ** -0.5
    whole = (query @ key.transpose(2, 3)).mul_(scale).softmax(dim=-1)
    factors = dropout.factors(whole)
    weights = whole * factors

    def back(gradient: Tensor) -> Three:
        inner = (gradient @ value.transpose(2, 3)).mul_(factors)
        inner = _aten._softmax_backward_data(inner, whole, -1, whole.dtype).mul_(scale)
        return inner @ key, inner.transpose(2, 3) @ query, weights.transpose(2, 3) @ gradient

    return weights @ value, back
