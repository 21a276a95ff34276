"""A fast forward pass of XLM-R classifiers for evaluation on a CPU, in float32.

The results are equivalent to those of transformers. Differences:

- Weights are packed once into oneDNN's blocked format (as ``torch.compile`` does for frozen weights). PyTorch uses MKL
  for float32 products, which has half the speed or less on AMD CPUs.
- Query, key and value are one product, and GELU is fused with the feed-forward product.
- The head reads the first token only, so the last layer computes keys and values for all tokens and the rest for the
  first token.
- Tokens are concatenated and padded to one of a few bucket sizes: oneDNN compiles and caches kernels by size.
- A batch without padding (see `mu_lightning.data.batching.eval_loader`) is computed without a mask.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.models.roberta import RobertaForSequenceClassification
from transformers.models.xlm_roberta import XLMRobertaForSequenceClassification

from mu_lightning.data.encoding import Batch
from mu_lightning.models.cpu.products import bucket_size
from mu_lightning.utilities.adapters import torch_operators as onednn
from mu_lightning.utilities.adapters.torch_hooks import has_forward_hooks

ARCHITECTURES = (XLMRobertaForSequenceClassification, RobertaForSequenceClassification)
Product = Callable[[Tensor], Tensor]


def can_pack(model: PreTrainedModel) -> bool:
    """Whether `PackedClassifier` supports a model: XLM-R in float32 on a CPU with oneDNN, without adapters or hooks."""
    config: Any = model.config
    return (
        type(model) in ARCHITECTURES
        and config.hidden_act == "gelu"
        and not config.is_decoder
        and config.chunk_size_feed_forward == 0
        and all(parameter.device.type == "cpu" for parameter in model.parameters())
        and all(parameter.dtype == torch.float32 for parameter in model.parameters())
        # Adapters use other layer classes; hooks need the modules of transformers.
        and all(type(part) is nn.Linear for part in model.modules() if isinstance(part, nn.Linear))
        and not has_forward_hooks(model)
        and onednn.available()
    )


class PackedClassifier:
    """A packed copy of a classifier's weights; later changes of the classifier have no effect.

    Embeddings, the largest part of XLM-R, are shared.

    Args:
        model: a classifier that `can_pack` supports.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        encoder: Any = model.roberta
        self._words: Tensor = encoder.embeddings.word_embeddings.weight
        self._norm: nn.Module = encoder.embeddings.LayerNorm
        self._head: Any = model.classifier
        padding = model.config.pad_token_id or 0
        places: Tensor = encoder.embeddings.position_embeddings.weight[padding + 1 :]
        self._places = (places + encoder.embeddings.token_type_embeddings.weight[0]).detach()
        *layers, last = encoder.encoder.layer
        heads = int(model.config.num_attention_heads)
        self._layers = [*(_Layer(layer, heads) for layer in layers), _LastLayer(last, heads)]

    def __call__(self, batch: Batch) -> Tensor:
        """Computes logits of shape (B, classes). Padding must be on the right."""
        ids = batch["input_ids"]
        hidden = functional.embedding(_filled(ids.flatten()), self._words)
        _rows_of(hidden, ids.shape).add_(self._places[: ids.shape[1]])
        hidden = self._norm(hidden)
        real = batch["attention_mask"].bool()
        mask = None if bool(real.all()) else real[:, None, None, :]
        for layer in self._layers:
            hidden = layer(hidden, ids.shape, mask)
        logits: Tensor = self._head(hidden[: len(ids), None])
        return logits


def _rows_of(tokens: Tensor, shape: torch.Size) -> Tensor:
    """Reshapes padded (T, width) to (B, L, width)."""
    return tokens[: shape.numel()].view(*shape, -1)


def _filled(tokens: Tensor) -> Tensor:
    """Pads token ids (T,) or hidden states (T, width) with zeros to a bucket size."""
    missing = bucket_size(len(tokens)) - len(tokens)
    return functional.pad(tokens, (*(0, 0) * (tokens.ndim - 1), 0, missing)) if missing else tokens


class _Layer:
    """A Transformer layer on concatenated, padded hidden states (T, width) of B rows of length L."""

    def __init__(self, layer: Any, heads: int) -> None:
        self._heads = heads
        attention = layer.attention.self
        self._project = _packed(*self._projections(attention))
        self._attended, self._norm = _packed(layer.attention.output.dense), layer.attention.output.LayerNorm
        self._up = _packed(layer.intermediate.dense, after="gelu")
        self._down, self._last_norm = _packed(layer.output.dense), layer.output.LayerNorm

    def _projections(self, attention: Any) -> tuple[nn.Linear, ...]:
        return attention.query, attention.key, attention.value

    def __call__(self, hidden: Tensor, shape: torch.Size, mask: Tensor | None) -> Tensor:
        """Computes the layer. The mask of shape (B, 1, 1, L) is true for tokens."""
        query, key, value = self._split(self._project(hidden), shape, 3)
        return self._rest(hidden, functional.scaled_dot_product_attention(query, key, value, mask))

    def _split(self, projected: Tensor, shape: torch.Size, parts: int) -> tuple[Tensor, ...]:
        """Splits (T, parts x width) into `parts` tensors (B, heads, L, width / heads)."""
        return _rows_of(projected, shape).unflatten(-1, (parts, self._heads, -1)).permute(2, 0, 3, 1, 4).unbind()

    def _rest(self, hidden: Tensor, attended: Tensor) -> Tensor:
        attended = _filled(attended.transpose(1, 2).reshape(-1, hidden.shape[1]))
        hidden = self._norm(self._attended(attended).add_(hidden))
        normed: Tensor = self._last_norm(self._down(self._up(hidden)).add_(hidden))
        return normed


class _LastLayer(_Layer):
    """The last layer: returns hidden states of the first tokens only, (B, width), padded."""

    def __init__(self, layer: Any, heads: int) -> None:
        super().__init__(layer, heads)
        self._query = _packed(layer.attention.self.query)

    def _projections(self, attention: Any) -> tuple[nn.Linear, ...]:
        return attention.key, attention.value

    def __call__(self, hidden: Tensor, shape: torch.Size, mask: Tensor | None) -> Tensor:
        key, value = self._split(self._project(hidden), shape, 2)
        first = _filled(_rows_of(hidden, shape)[:, 0])
        (query,) = self._split(self._query(first), torch.Size((shape[0], 1)), 1)
        return self._rest(first, functional.scaled_dot_product_attention(query, key, value, mask))


def _packed(*layers: nn.Linear, after: str = "none") -> Product:
    """Fuses linear layers of one input into one product with concatenated outputs and an activation (none or gelu)."""
    weight = onednn.blocked_weight(torch.cat([layer.weight.detach() for layer in layers]))
    bias = torch.cat([layer.bias.detach() for layer in layers])
    return lambda rows: onednn.linear(rows, weight, bias, after, [], "none")
