"""A validated merge without its tensors: method, parameters, weights and overrides by tensor."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mu_lightning.merging.engine.checks import check_plan, check_weights
from mu_lightning.merging.method import Method
from mu_lightning.merging.method_parameters import build_parameters
from mu_lightning.merging.methods.shared.weighting import scaled_weights
from mu_lightning.merging.registry import find_method
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Override:
    """Weights or parameters for the tensors whose names match a pattern.

    Attributes:
        pattern: shell pattern for the full tensor name: ``classifier.*``, ``*.embeddings.*``, ``*.layer.[0-5].*``.
        weights: source name -> weight; other sources keep the weight of the merge.
        parameters: parameters that differ from those of the merge.
    """

    pattern: str
    weights: Mapping[str, float] | None = None
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Job:
    """A validated merge without its tensors.

    Attributes:
        method: the merge method.
        parameters: parameters of the method.
        names: names of the sources, in order.
        weights: merge weights, in the same order.
        seed: random seed, for stochastic methods.
        device: device of the computation; None for the device of the tensors.
        overrides: validated overrides; later ones take precedence.
        missing_in_base: tensors that the base lacks (a classification head). They have no task vector and are averaged.
    """

    method: Method
    parameters: Any
    names: tuple[str, ...]
    weights: tuple[float, ...]
    seed: int = 0
    device: "torch.device | None" = None
    overrides: tuple[Override, ...] = ()
    missing_in_base: frozenset[str] = frozenset()

    def of(self, tensor: str) -> "Job":
        """Returns the merge with the overrides for a tensor applied."""
        job = self
        parameters: dict[str, Any] = {}
        for override in self.overrides:
            if fnmatchcase(tensor, override.pattern):
                own = override.weights or {}
                weights = tuple(own.get(name, weight) for name, weight in zip(self.names, job.weights, strict=True))
                job = replace(job, weights=weights)
                parameters |= override.parameters or {}
        if tensor in self.missing_in_base:
            average = find_method("linear")
            return replace(job, method=average, parameters=average.parameters())
        return replace(job, parameters=replace(self.parameters, **parameters)) if parameters else job


def plan_job(
    method: str | Method,
    weights: Mapping[str, float],
    names: Sequence[str],
    *,
    has_base: bool = False,
    has_statistics: bool = False,
    parameters: Mapping[str, Any] | None = None,
    overrides: Sequence[Override] = (),
    seed: int = 0,
    device: "str | torch.device | None" = None,
) -> Job:
    """Validates a merge as far as this is possible without tensors.

    Raises:
        UserError: unknown method or parameter, too few or too many sources, weights that don't match the sources, or a
            missing base.
    """
    method = find_method(method)
    check_plan(method, weights, names, has_base=has_base, has_statistics=has_statistics)
    built = build_parameters(method, parameters, names)
    _check_sum(built, weights, names)
    changes = []
    for override in overrides:
        check_weights({name: float(weights[name]) for name in names} | dict(override.weights or {}), names)
        values = build_parameters(method, override.parameters, names)
        changed = [name.replace("-", "_") for name in override.parameters or {}]
        own = {name: float(weight) for name, weight in (override.weights or {}).items()}
        changes.append(Override(override.pattern, own, {name: getattr(values, name) for name in changed}))
        _check_global_statistics(method, built, changes[-1])
        _check_sum(replace(built, **(changes[-1].parameters or {})), {**weights, **own}, names)
    return Job(
        method=method,
        parameters=built,
        names=tuple(names),
        weights=tuple(float(weights[name]) for name in names),
        seed=seed,
        device=None if device is None else _device(device),
        overrides=tuple(changes),
    )


def _check_sum(parameters: Any, weights: Mapping[str, float], names: Sequence[str]) -> None:
    """Raises UserError if weights are normalized and sum to zero."""
    weighting = getattr(parameters, "weighting", None)
    if weighting is not None:
        scaled_weights([float(weights[name]) for name in names], weighting)


def _device(device: "str | torch.device") -> "torch.device":
    import torch

    return torch.device(device)


def _check_global_statistics(method: Method, parameters: Any, override: Override) -> None:
    """Rejects an override of a parameter that the global statistics of the model depend on."""
    changed = override.parameters or {}
    if method.global_statistics is None or method.statistics_scope(replace(parameters, **changed)) != "model":
        return
    for field in fields(parameters):
        if field.name in changed and field.metadata["model_wide"]:
            raise UserError(
                f"{method.name}: {field.name} applies to the whole model and cannot be overridden for "
                f"'{override.pattern}': set scope to tensor for that pattern, too"
            )


def check_overrides(overrides: Sequence[Override], tensors: Iterable[str]) -> None:
    """Raises UserError if the pattern of an override matches no tensor."""
    names = list(tensors)
    for override in overrides:
        if not any(fnmatchcase(name, override.pattern) for name in names):
            raise UserError(f"no tensor matches the pattern '{override.pattern}'; tensor names look like {names[0]}")
