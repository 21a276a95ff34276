"""A merge recipe, independent of its format."""

from dataclasses import dataclass, field
from typing import Any

from mu_lightning.merging.engine.job import Override


@dataclass(frozen=True)
class Recipe:
    """A merge recipe.

    Attributes:
        method: name of the merge method.
        models: source name -> folder or hub id.
        weights: source name -> weight.
        base: folder or hub id of the base model.
        parameters: parameters of the method that differ from the defaults.
        overrides: weights and parameters by tensor.
        dtype: dtype of the result; None for the sources' dtype.
        seed: random seed, for stochastic methods.
        data: texts for methods that need data-dependent statistics.
    """

    method: str
    models: dict[str, str]
    weights: dict[str, float]
    base: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    dtype: str | None = None
    seed: int = 0
    data: dict[str, Any] = field(default_factory=dict)
