"""Handles out-of-memory errors in a training step by recomputing the gradient with smaller micro-batches."""

from collections.abc import Callable, Iterator
from typing import cast

import torch
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mu_lightning.data.encoding import Batch
from mu_lightning.utilities.errors import UserError

WHAT_TO_SET = "lower --batch-size or --data.max_length, set --members-in-memory, or use --precision bf16-mixed"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error is an out-of-memory error."""
    return isinstance(error, torch.OutOfMemoryError) or is_oom_error(error)


class MicroBatches:
    """Computes the mean loss of a batch in micro-batches that fit into device memory.

    Every micro-batch except the last uses gradient checkpointing, so that the activations of one micro-batch are in
    memory at a time. The gradients are those of the full batch.

    Attributes:
        parts: number of micro-batches in a batch; doubled after an out-of-memory error.
        enabled: whether doubling is allowed.
    """

    def __init__(self) -> None:
        self.parts = 1
        self.enabled = False

    def mean(self, part: Batch, loss: Callable[[Batch], Tensor]) -> Tensor:
        """Computes the mean loss of a batch, a scalar.

        Args:
            part: batch of a member.
            loss: computes the mean loss of a micro-batch.
        """
        if self.parts == 1:
            return loss(part)
        rows = len(part["labels"])
        micro_batches = list(_micro_batches(part, min(self.parts, rows)))
        losses = [checkpoint(loss, micro_batch, use_reentrant=False) for micro_batch in micro_batches[:-1]] + [
            loss(micro_batches[-1])
        ]
        shares = [len(micro_batch["labels"]) / rows for micro_batch in micro_batches]
        return torch.stack([one * share for one, share in zip(losses, shares, strict=True)]).sum()

    def halve(self, rows: int, error: BaseException) -> None:
        """Doubles the number of micro-batches.

        Args:
            rows: number of rows of the largest batch in the step.
            error: the out-of-memory error.

        Raises:
            UserError: doubling is disabled, or micro-batches have a single row.
        """
        if not self.enabled:
            raise UserError(f"out of memory ({_first_line(error)}): {WHAT_TO_SET}") from error
        if self.parts >= rows:
            raise UserError(
                f"out of memory with micro-batches of one utterance ({_first_line(error)}): {WHAT_TO_SET}"
            ) from error
        self.parts *= 2
        garbage_collection_cuda()
        size = -(-rows // self.parts)
        print(f"out of memory: micro-batches of {size} utterances from now on, {self.parts} per batch", flush=True)


def _micro_batches(part: Batch, count: int) -> Iterator[Batch]:
    tensors = cast(dict[str, Tensor], part)
    rows = len(part["labels"])
    for place in torch.arange(rows, device=part["labels"].device).tensor_split(count):
        rows_of = {name: value[place] if value.ndim else value for name, value in tensors.items()}
        yield cast(Batch, rows_of)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
