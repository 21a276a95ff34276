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
    same = np.ones(len(base), dtype=bool)
    # A changed row nearly always shows it in its first elements, so where most did, nothing more is read.
    for columns in (_PROBE, None):
        reference = _rows(base, columns)
        for source in sources:
            same &= (_rows(source, columns) == reference).all(1)
        if same.mean() < _WORTHWHILE:
            return None
    return torch.from_numpy(np.flatnonzero(~same)).to(base.device)


def _rows(tensor: Tensor, columns: int | None) -> np.ndarray:
    # numpy compares and reduces several times faster than torch does on a CPU.
    return tensor.flatten(1)[:, :columns].cpu().numpy()
