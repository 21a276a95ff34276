"""XLM-R's classifier for training on a CPU: the arithmetic of transformers, forward and backward.

What is done otherwise than in transformers changes no sum but by rounding:

- Rows lie end to end without padding. Position ids begin at padding id + 1 in each row, as transformers has them, and
  attention is computed for all rows of one length together, so it needs no mask.
- The head reads the first token alone: the last layer computes keys and values of all tokens, and the rest of itself,
  forward and backward, for the first ones.
- Products go to oneDNN, the residual added while they are in the cache (see `mu_lightning.models.cpu.products`).
- The backward pass is written out, so that a thread computes a member's whole gradient, beside other members' threads.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu
from transformers import PreTrainedModel

from mu_lightning.data.encoding import Batch
from mu_lightning.models.cpu.attention import Attention, Dropout
from mu_lightning.models.cpu.products import Back, Gradients, filled, linear, norm

_aten = torch.ops.aten


def _parts(layer: Any) -> tuple[Any, ...]:
    attention = layer.attention
    return (
        *(attention.self.query, attention.self.key, attention.self.value),
        *(attention.output.dense, attention.output.LayerNorm),
        *(layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm),
    )


class Rows(NamedTuple):
    """A batch's tokens end to end, its rows in the order of their lengths.

    Attributes:
        tokens: shape (T,), filled up at the end (see `filled`).
        places: each token's position id, shape (T,).
        groups: the number and the length of rows of one length, shortest first.
        first: where each row begins, shape (B,).
        order: which row of the batch each of them is, shape (B,).
    """

    tokens: Tensor
    places: Tensor
    groups: list[tuple[int, int]]
    first: Tensor
    order: Tensor


def lay_out(batch: Batch, padding: int) -> Rows:
    """Takes the padding out of a batch.

    Args:
        batch: B rows, padded to the right.
        padding: the id of the padding token.
    """
    real = batch["attention_mask"].bool()
    lengths, order = real.sum(dim=1).sort(stable=True)
    real = real[order]
    tokens = int(lengths.sum())
    fill = (0, filled(tokens) - tokens)
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
    """A classifier's forward pass, and the backward pass that belongs to it.

    Args:
        model: a classifier for which `mu_lightning.models.cpu.packed.can_pack` holds.

    Attributes:
        parameters: the model's, in the order of their gradients.
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
        """Logits, shape (B, classes), in float32; and from their gradient those of `parameters`, to be asked for once.

        Args:
            batch: B rows, padded to the right.
            seed: of dropout's random numbers.
            lower: the type of what products and attention compute with, as under autocast; None: float32.
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
            while len(kept) > 1:  # what a step kept is dropped with it
                gradient, *own = kept.pop()(gradient)
                found = (*own, *found)
            return *kept.pop()(gradient), *found

        return logits.float(), whole


class _Pass:
    """The steps of a pass over one batch.

    Each gives what comes out; and from its gradient those of what came in, but for the first, and of its parameters.
    """

    def __init__(self, classifier: CompactClassifier, batch: Batch, seed: int, lower: torch.dtype | None) -> None:
        config: Any = classifier.model.config
        generator = torch.Generator().manual_seed(seed) if classifier.model.training else None
        self._rows = lay_out(batch, config.pad_token_id)
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
        """A layer, (T, width) to (T, width), or the last one: to (B, width)."""
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
        """The classification head, (B, width) in the order of `Rows` to (B, classes) in the batch's."""
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
        """A linear layer, dropout, and the sum with what went around them."""
        if not self._dropout.p:
            return self._linear(rows, part, plus)
        result, back = self._linear(rows, part)
        factors = self._dropout.factors(result)
        return plus + result.mul_(factors), lambda gradient: back(gradient * factors)
