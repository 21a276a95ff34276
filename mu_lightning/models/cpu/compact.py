"""An XLM-R classifier for training on a CPU, with explicit forward and backward passes.

It is equivalent to transformers up to rounding. Differences:

- Rows are concatenated without padding. Position ids start at padding id + 1 in each row, as in transformers, and
  attention is computed for rows of equal length together, without a mask.
- The head reads the first token only: the last layer computes keys and values for all tokens, and the rest for the
  first token, forward and backward.
- Matrix products use oneDNN with a fused residual addition (see `mu_lightning.models.cpu.products`).
- The backward pass is explicit, so that one thread computes the gradient of one member, in parallel with other members.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu
from transformers import PreTrainedModel

from mu_lightning.data.encoding import Batch
from mu_lightning.models.cpu.attention import Attention, Dropout
from mu_lightning.models.cpu.products import Back, Gradients, bucket_size, linear, norm

_aten = torch.ops.aten


def _parts(layer: Any) -> tuple[Any, ...]:
    attention = layer.attention
    return (
        *(attention.self.query, attention.self.key, attention.self.value),
        *(attention.output.dense, attention.output.LayerNorm),
        *(layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm),
    )


class Rows(NamedTuple):
    """Concatenated tokens of a batch, with rows sorted by length.

    Attributes:
        tokens: token ids, shape (T,), padded at the end (see `bucket_size`).
        places: position ids, shape (T,).
        groups: (number of rows, length) of each group of rows of equal length, shortest first.
        first: index of the first token of each row, shape (B,).
        order: index of each row in the batch, shape (B,).
    """

    tokens: Tensor
    places: Tensor
    groups: list[tuple[int, int]]
    first: Tensor
    order: Tensor


def unpad(batch: Batch, padding: int) -> Rows:
    """Removes the padding of a batch.

    Args:
        batch: B rows, padded on the right.
        padding: id of the padding token.
    """
    real = batch["attention_mask"].bool()
    lengths, order = real.sum(dim=1).sort(stable=True)
    real = real[order]
    tokens = int(lengths.sum())
    fill = (0, bucket_size(tokens) - tokens)
    places = torch.arange(padding + 1, padding + 1 + real.shape[1]).expand_as(real)
    values, counts = lengths.unique_consecutive(return_counts=True)
    return Rows(
        tokens=nn.functional.pad(batch["input_ids"][order][real], fill, value=padding),
        places=nn.functional.pad(places[real], fill, value=padding),
        groups=list(zip(counts.tolist(), values.tolist(), strict=True)),
        first=lengths.cumsum(0) - lengths,
        order=order,
    )


class CompactClassifier:
    """Forward and backward pass of a classifier.

    Args:
        model: a classifier that `mu_lightning.models.cpu.packed.can_pack` supports.

    Attributes:
        parameters: parameters of the model, in the order of the gradients.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        whole: Any = model
        self.model = model
        self.table = table = whole.roberta.embeddings
        self.layers = [_parts(layer) for layer in whole.roberta.encoder.layer]
        self.head = whole.classifier.dense, whole.classifier.out_proj
        parts = [table.LayerNorm, *(part for layer in self.layers for part in layer), *self.head]
        self.parameters: list[nn.Parameter] = [
            *(table.word_embeddings.weight, table.position_embeddings.weight, table.token_type_embeddings.weight),
            *(parameter for part in parts for parameter in (part.weight, part.bias)),
        ]

    def __call__(self, batch: Batch, seed: int, lower: torch.dtype | None = None) -> tuple[Tensor, Back]:
        """Returns logits of shape (B, classes) in float32, and the backward function, which can be called once.

        Args:
            batch: B rows, padded on the right.
            seed: random seed of dropout.
            lower: dtype of matrix products and attention, as with autocast; None for float32.
        """
        steps = _Pass(self, batch, seed, lower)
        hidden, back = steps.embedded()
        kept = [back]
        for layer in self.layers:
            hidden, back = steps.layer(layer, hidden, last=layer is self.layers[-1])
            kept.append(back)
        logits, back = steps.head(hidden)
        kept.append(back)

        def whole(gradient: Tensor) -> Gradients:
            found: Gradients = ()
            while len(kept) > 1:  # releases the activations of each step
                gradient, *own = kept.pop()(gradient)
                found = (*own, *found)
            return *kept.pop()(gradient), *found

        return logits.float(), whole


class _Pass:
    """Layers of a pass over one batch.

    Each method returns an output and the function from its gradient to those of its input and parameters.
    """

    def __init__(self, classifier: CompactClassifier, batch: Batch, seed: int, lower: torch.dtype | None) -> None:
        config: Any = classifier.model.config
        generator = torch.Generator().manual_seed(seed) if classifier.model.training else None
        self._rows = unpad(batch, config.pad_token_id)
        self._table, self._head = classifier.table, classifier.head
        self._dropout = Dropout(config.hidden_dropout_prob, generator)
        of_head = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self._head_dropout = Dropout(of_head, generator)
        dropout = Dropout(config.attention_probs_dropout_prob, generator)
        self._attention = Attention(config.num_attention_heads, self._rows.groups, dropout)
        self._linear = partial(linear, lower=lower)

    def embedded(self) -> tuple[Tensor, Back]:
        table, rows = self._table, self._rows
        words, places, types = table.word_embeddings, table.position_embeddings, table.token_type_embeddings
        hidden = embedding(rows.tokens, words.weight) + types.weight[0]
        hidden, norm_back = norm(hidden.add_(embedding(rows.places, places.weight)), table.LayerNorm)
        factors = self._dropout.factors(hidden) if self._dropout.p else None
        if factors is not None:
            hidden.mul_(factors)

        def back(gradient: Tensor) -> Gradients:
            gradient, *norms = norm_back(gradient if factors is None else gradient * factors)
            each = ((words, rows.tokens), (places, rows.places), (types, torch.zeros_like(rows.places)))
            return *(torch.zeros_like(part.weight).index_add_(0, at, gradient) for part, at in each), *norms

        return hidden, back

    def layer(self, parts: tuple[Any, ...], hidden: Tensor, last: bool) -> tuple[Tensor, Back]:
        """A layer: maps (T, width) to (T, width), or to (B, width) for the last layer."""
        query, key, value, dense, attended_norm, up, down, down_norm = parts
        first = self._rows.first
        asking = hidden[first] if last else hidden
        queries, query_back = self._linear(asking, query)
        keys, key_back = self._linear(hidden, key)
        values, value_back = self._linear(hidden, value)
        gathered, attention_back = self._attention(queries, keys, values, first=last)
        middle, dense_back = self._residual(gathered, dense, asking)
        middle, attended_norm_back = norm(middle, attended_norm)
        wide, up_back = self._linear(middle, up)
        result, down_back = self._residual(gelu(wide), down, middle)
        result, down_norm_back = norm(result, down_norm)

        def back(gradient: Tensor) -> Gradients:
            total, *down_norms = down_norm_back(gradient)
            gradient, *downs = down_back(total)
            gradient, *ups = up_back(_aten.gelu_backward(gradient, wide), total)
            total, *attended_norms = attended_norm_back(gradient)
            gradient, *denses = dense_back(total)
            of_queries, of_keys, of_values = attention_back(gradient)
            total, *of_query = query_back(of_queries, total)
            gradient, *of_key = key_back(of_keys, None if last else total)
            gradient, *of_value = value_back(of_values, gradient)
            if last:
                gradient = gradient.float().index_add_(0, first, total)
            own = (of_query, of_key, of_value, denses, attended_norms, ups, downs, down_norms)
            return gradient, *(tensor for pair in own for tensor in pair)

        return result, back

    def head(self, hidden: Tensor) -> tuple[Tensor, Back]:
        """The classification head: maps (B, width) in the order of `Rows` to (B, classes) in the order of the batch."""
        dense, out = self._head
        order = self._rows.order
        states, states_back = self._head_dropout(torch.empty_like(hidden).index_copy_(0, order, hidden))
        wide, dense_back = self._linear(states, dense)
        squeezed = wide.tanh()
        dropped, dropped_back = self._head_dropout(squeezed)
        logits, out_back = self._linear(dropped, out)

        def back(gradient: Tensor) -> Gradients:
            gradient, *outs = out_back(gradient)
            gradient, *denses = dense_back(_aten.tanh_backward(dropped_back(gradient), squeezed))
            return states_back(gradient.float())[order], *denses, *outs

        return logits, back

    def _residual(self, rows: Tensor, part: nn.Linear, plus: Tensor) -> tuple[Tensor, Back]:
        """A linear layer, dropout and the residual connection."""
        if not self._dropout.p:
            return self._linear(rows, part, plus)
        result, back = self._linear(rows, part)
        factors = self._dropout.factors(result)
        return plus + result.mul_(factors), lambda gradient: back(gradient * factors)
