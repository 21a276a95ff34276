"""Finds rows that no source changed: fine-tuning updates the embeddings of the tokens in its data only."""

from collections.abc import Sequence
from typing import Any

# Unchanged rows are skipped only if they are at least this share of a chunk: gathering the others has a cost.
_WORTHWHILE = 1 / 4
_PROBE = 8


def changed_rows(sources: Sequence[Any], base: Any) -> Any | None:
    """Marks the rows that at least one source changed; None if most rows changed.

    Args:
        sources: NumPy arrays or tensors of one shape [rows, ...].
        base: the base, of that shape.

    Returns:
        A boolean for each row, as an array or a tensor like the input.
    """
    if 0 in base.shape:
        return None
    same = None
    # A changed row nearly always differs in its first elements: if most rows do, the rest is not read.
    for columns in (_PROBE, None):
        reference = base.reshape(len(base), -1)[:, :columns]
        for source in sources:
            equal = (source.reshape(len(base), -1)[:, :columns] == reference).all(1)
            same = equal if same is None else same & equal
        if same is None or same.sum().item() < _WORTHWHILE * len(base):
            return None
    return None if same is None else ~same
