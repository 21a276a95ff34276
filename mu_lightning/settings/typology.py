"""Settings of similarity and of the weights that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mu_lightning.settings.bounds import check_settings

DEFAULT_FEATURE_SET = "syntax_knn"
DEFAULT_WEIGHTING = "softmax"
SINKHORN = "sinkhorn"
SINKHORN_ITERATIONS = 20
# The temperature of each weighting in `mu_lightning.typology.weightings.WEIGHTINGS` where none is given.
TEMPERATURES: Mapping[str, float] = {"softmax": 0.05, "proportional": 1.0, SINKHORN: 1.0}
SimilaritySource = Literal["dense", "sparse"]
SIMILARITY_SOURCES: tuple[SimilaritySource, ...] = get_args(SimilaritySource)


@dataclass(frozen=True)
class TypologySettings:
    """Settings of similarity and of the weights that follow from it.

    Settings that are None get the value that they stand for, so that records name every value.

    Attributes:
        similarity_source: ``dense`` computes similarities from URIEL features, ``sparse`` reads a matrix.
        similarity_matrix: file for ``sparse``, as written by the command ``similarity``; default:
            ``language_similarity_matrix_unified.csv`` in the current folder.
        feature_set: feature set for ``dense``, or a mix such as ``syntax_knn:0.7+geography:0.3``.
        top_k: sources are selected among so many nearest neighbors; ``sinkhorn`` keeps so many of each locale.
        weighting: how similarities become weights: ``softmax``, ``proportional`` (both never give a more similar source
            less weight) or ``sinkhorn``; null: softmax, or sinkhorn if `sinkhorn_iters` is given.
        temperature: weights are proportional to exp(s / temperature) for ``softmax``, to s^(1 / temperature) for
            ``proportional`` and ``sinkhorn``: lower values favor the most similar sources; null: 0.05, 1 and 1.
        sinkhorn_iters: for ``sinkhorn``: number of iterations (row and column normalizations); null: 20.
    """

    similarity_source: SimilaritySource = "dense"
    similarity_matrix: Path | None = None
    feature_set: str = DEFAULT_FEATURE_SET
    top_k: int = 20
    weighting: str | None = None
    temperature: float | None = None
    sinkhorn_iters: int | None = None

    def __post_init__(self) -> None:
        weighting = self.weighting or (DEFAULT_WEIGHTING if self.sinkhorn_iters is None else SINKHORN)
        object.__setattr__(self, "weighting", weighting)
        if self.temperature is None:
            object.__setattr__(self, "temperature", TEMPERATURES.get(weighting))
        if self.sinkhorn_iters is None and weighting == SINKHORN:
            object.__setattr__(self, "sinkhorn_iters", SINKHORN_ITERATIONS)
        check_settings(self, "typology")
