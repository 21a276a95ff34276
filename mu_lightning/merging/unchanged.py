"""Rows that no source changed: fine-tuning touches the embeddings of the few tokens it saw, and leaves the others."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# Unchanged rows are left out only where they are at least this share of a piece: gathering the others costs too.
_WORTHWHILE = 1 / 4
_PROBE = 8


def changed_rows(sources: Sequence[Tensor], base: Tensor) -> Tensor | None:
    """The indices of the rows that some source changed, or None if most rows changed.

    Args:
        sources: tensors of one shape [rows, ...].
        base: what they are compared with, of that shape.
    """
    same = torch.ones(len(base), dtype=torch.bool, device=base.device)
    # A changed row nearly always shows it in its first elements, so where most did, nothing more is read.
    for columns in (_PROBE, None):
        reference = base.flatten(1)[:, :columns]
        for source in sources:
            same &= _equal_rows(source.flatten(1)[:, :columns], reference)
        if same.sum().item() < _WORTHWHILE * len(base):
            return None
    return (~same).nonzero().squeeze(1)


def _equal_rows(one: Tensor, other: Tensor) -> Tensor:
    if one.device.type != "cpu":
        return (one == other).all(1)
    # numpy compares and reduces several times faster than torch does on a CPU.
    return torch.from_numpy(np.equal(one.numpy(), other.numpy()).all(1))
