"""Settings of similarity and normalization."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

DEFAULT_FEATURE_SET = "syntax_knn"
SimilaritySource = Literal["dense", "sparse"]
SIMILARITY_SOURCES: tuple[SimilaritySource, ...] = get_args(SimilaritySource)


@dataclass(frozen=True)
class TypologySettings:
    """Settings of similarity and normalization.

    Attributes:
        similarity_source: ``dense`` computes similarities from URIEL features, ``sparse`` reads a matrix.
        similarity_matrix: file for ``sparse``, as written by the command ``similarity``; default:
            ``language_similarity_matrix_unified.csv`` in the current folder.
        feature_set: feature set for ``dense``, or a mix such as ``syntax_knn:0.7+geography:0.3``.
        top_k: number of neighbors of each locale that are kept before normalization.
        sinkhorn_iters: number of Sinkhorn iterations (row and column normalizations).
        temperature: weights are proportional to s^(1 / temperature): values below 1 favor the nearest neighbors.
    """

    similarity_source: SimilaritySource = "dense"
    similarity_matrix: Path | None = None
    feature_set: str = DEFAULT_FEATURE_SET
    top_k: int = 20
    sinkhorn_iters: int = 20
    temperature: float = 1.0
