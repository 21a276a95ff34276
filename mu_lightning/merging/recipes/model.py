"""What a recipe says, whoever wrote it."""

from dataclasses import dataclass, field
from typing import Any

from mu_lightning.merging.engine.job import Override


@dataclass(frozen=True)
class Recipe:
    """A merge as a recipe asks for it.

    Attributes:
        method: the method's name.
        models: source name -> folder or hub id.
        weights: source name -> weight.
        base: the base model's folder or hub id.
        parameters: the method's parameters that are not its defaults.
        overrides: what differs by tensor.
        dtype: of the result; None for the sources'.
        seed: for methods that draw.
        data: which texts the method learns from, where it does.
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
