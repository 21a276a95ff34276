"""The plain paths: members computed by the modules of transformers, one after another, on any device."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from transformers import PreTrainedModel

from mu_lightning.data.encoding import Batch
from mu_lightning.models.optim.micro_batches import MicroBatches


class PlainClassifier:
    """The logits of a model, as transformers computes them.

    Args:
        model: a classifier of transformers.
        device: where batches are; offloaded weights are copied there for each call.
    """

    def __init__(self, model: PreTrainedModel, device: torch.device) -> None:
        self._model = model
        self._device = device

    def __call__(self, batch: Batch) -> Tensor:
        """Computes logits of shape (B, classes), in float32."""
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        offloaded = {name: tensor for name, tensor in self._model.named_parameters() if tensor.device != self._device}
        loaded = {name: tensor.to(self._device) for name, tensor in offloaded.items()}
        output: Any = functional_call(self._model, loaded, kwargs=inputs) if loaded else self._model(**inputs)
        logits: Tensor = output.logits.float()
        return logits


class LoopedMembers:
    """Computes the losses of members one after another; their gradients come from autograd.

    Args:
        members: name -> module from a batch to logits.
        micro_batches: how many pieces each batch is computed in.
    """

    stacked = False

    def __init__(self, members: Mapping[str, Callable[[Batch], Tensor]], micro_batches: MicroBatches) -> None:
        self._members = dict(members)
        self._micro_batches = micro_batches

    def losses(
        self, batch: Mapping[str, Batch], seeds: Mapping[str, int], loss: Callable[[str, Tensor, Batch], Tensor]
    ) -> dict[str, Tensor]:
        """Computes the differentiable scalar loss of each member.

        Args:
            batch: member -> batch.
            seeds: member -> random seed of dropout.
            loss: computes the loss from the name of a member, its logits of shape (B, classes), and its batch.
        """
        losses = {}
        for name, part in batch.items():
            if part["input_ids"].device.type == "cpu":  # torch.manual_seed is slower than a small layer
                torch.default_generator.manual_seed(seeds[name])
            else:
                torch.manual_seed(seeds[name])
            losses[name] = self._micro_batches.mean(part, partial(self._loss, name, loss))
        return losses

    def _loss(self, name: str, loss: Callable[[str, Tensor, Batch], Tensor], part: Batch) -> Tensor:
        return loss(name, self._members[name](part), part)
