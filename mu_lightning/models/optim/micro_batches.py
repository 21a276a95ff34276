"""Out of memory in a training step: the same gradient again, from smaller pieces of the batch."""

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
    """Whether a device's memory did not suffice."""
    return isinstance(error, torch.OutOfMemoryError) or is_oom_error(error)


class MicroBatches:
    """Computes a batch's mean loss from so many pieces that the device's memory suffices.

    Each piece but the last is a gradient checkpoint: its activations are computed again when its gradient is due, so
    that one piece's are held at a time. Gradients are the whole batch's, and nothing else of a step changes.

    Attributes:
        parts: pieces of a batch; doubled whenever the memory does not suffice.
        enabled: whether it may be doubled.
    """

    def __init__(self) -> None:
        self.parts = 1
        self.enabled = False

    def mean(self, part: Batch, loss: Callable[[Batch], Tensor]) -> Tensor:
        """The batch's mean loss, a scalar.

        Args:
            part: a member's batch.
            loss: gives the mean loss of some of its rows.
        """
        if self.parts == 1:
            return loss(part)
        rows = len(part["labels"])
        pieces = list(_pieces(part, min(self.parts, rows)))
        losses = [checkpoint(loss, piece, use_reentrant=False) for piece in pieces[:-1]] + [loss(pieces[-1])]
        shares = [len(piece["labels"]) / rows for piece in pieces]
        return torch.stack([one * share for one, share in zip(losses, shares, strict=True)]).sum()

    def halve(self, rows: int, error: BaseException) -> None:
        """Takes twice as many pieces from now on.

        Args:
            rows: of the largest batch in the step.
            error: what the device said.

        Raises:
            UserError: it may not, or a piece is a single row already.
        """
        if not self.enabled:
            raise UserError(f"out of memory ({_first_line(error)}): {WHAT_TO_SET}") from error
        if self.parts >= rows:
            raise UserError(
                f"out of memory with one utterance at a time ({_first_line(error)}): {WHAT_TO_SET}"
            ) from error
        self.parts *= 2
        garbage_collection_cuda()
        size = -(-rows // self.parts)
        print(f"out of memory: micro-batches of {size} utterances from now on, {self.parts} in a batch", flush=True)


def _pieces(part: Batch, count: int) -> Iterator[Batch]:
    tensors = cast(dict[str, Tensor], part)
    rows = len(part["labels"])
    for place in torch.arange(rows, device=part["labels"].device).tensor_split(count):
        rows_of = {name: value[place] if value.ndim else value for name, value in tensors.items()}
        yield cast(Batch, rows_of)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
