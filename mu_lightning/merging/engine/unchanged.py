"""Rows that no source changed: fine-tuning touches the embeddings of the few tokens it saw, and leaves the others."""

from collections.abc import Sequence
from typing import Any

# Unchanged rows are left out only where they are at least this share of a piece: gathering the others costs too.
_WORTHWHILE = 1 / 4
_PROBE = 8


def changed_rows(sources: Sequence[Any], base: Any) -> Any | None:
    """Which rows some source changed, or None if most rows changed.

    Args:
        sources: numpy's arrays, or tensors, of one shape [rows, ...].
        base: what they are compared with, of that shape.

    Returns:
        True or False for each row, as what was given.
    """
    if 0 in base.shape:
        return None
    same = None
    # A changed row nearly always shows it in its first elements, so where most did, nothing more is read.
    for columns in (_PROBE, None):
        reference = base.reshape(len(base), -1)[:, :columns]
        for source in sources:
            equal = (source.reshape(len(base), -1)[:, :columns] == reference).all(1)
            same = equal if same is None else same & equal
        if same is None or same.sum().item() < _WORTHWHILE * len(base):
            return None
    return None if same is None else ~same
