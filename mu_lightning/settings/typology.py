"""How similarities between languages become weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DEFAULT_FEATURE_SET = "syntax_knn"


@dataclass(frozen=True)
class TypologySettings:
    """How similarities become weights.

    Attributes:
        similarity_source: ``dense`` computes the similarities from URIEL's features, ``sparse`` reads a matrix.
        similarity_matrix: the file of ``sparse``, as the command ``similarity`` writes it;
            ``language_similarity_matrix_unified.csv`` in the current folder if none is named.
        feature_set: the features of ``dense``, or a mix of several such as ``syntax_knn:0.7+geography:0.3``.
        top_k: neighbors that each locale keeps before the weights are normalized.
        sinkhorn_iters: rounds of dividing rows, then columns, by their sums.
        temperature: below 1 the nearest neighbors count for more, above 1 for less: weights grow as
            s^(1 / temperature).
    """

    similarity_source: Literal["dense", "sparse"] = "dense"
    similarity_matrix: Path | None = None
    feature_set: str = DEFAULT_FEATURE_SET
    top_k: int = 20
    sinkhorn_iters: int = 20
    temperature: float = 1.0
