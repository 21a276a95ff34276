"""A merge as it was asked for and validated: method, parameters, weights, and where they differ by tensor."""

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
    """Other weights or parameters for the tensors whose names match a pattern.

    Attributes:
        pattern: a shell pattern over the whole tensor name: ``classifier.*``, ``*.embeddings.*``, ``*.layer.[0-5].*``.
        weights: source name -> weight; sources that are not named, or all where it is None, keep theirs.
        parameters: parameters that differ; the others stay the merge's.
    """

    pattern: str
    weights: Mapping[str, float] | None = None
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Job:
    """A merge without its tensors.

    Attributes:
        method: the method.
        parameters: its parameters.
        names: the sources' names, in order.
        weights: their weights, in the same order.
        seed: the run's seed, for methods that draw.
        device: where the arithmetic happens; None for where the tensors are.
        overrides: validated; a later one goes over an earlier one.
        headless: tensors that the base lacks (a classification head); there is no task vector of them, so they are
            averaged.
    """

    method: Method
    parameters: Any
    names: tuple[str, ...]
    weights: tuple[float, ...]
    seed: int = 0
    device: "torch.device | None" = None
    overrides: tuple[Override, ...] = ()
    headless: frozenset[str] = frozenset()

    def of(self, tensor: str) -> "Job":
        """The merge as it applies to the tensor of that name."""
        job = self
        parameters: dict[str, Any] = {}
        for override in self.overrides:
            if fnmatchcase(tensor, override.pattern):
                own = override.weights or {}
                weights = tuple(own.get(name, weight) for name, weight in zip(self.names, job.weights, strict=True))
                job = replace(job, weights=weights)
                parameters |= override.parameters or {}
        if tensor in self.headless:
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
    """Validates everything about a merge that needs no tensor.

    Raises:
        UserError: unknown method or parameter, too few or too many sources, weights that don't match them, no base
            where the method needs one.
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
        _check_surveyed(method, built, changes[-1])
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
    """Raises UserError if weights are to be divided by their sum and that is zero."""
    weighting = getattr(parameters, "weighting", None)
    if weighting is not None:
        scaled_weights([float(weights[name]) for name in names], weighting)


def _device(device: "str | torch.device") -> "torch.device":
    import torch

    return torch.device(device)


def _check_surveyed(method: Method, parameters: Any, override: Override) -> None:
    """Refuses an override that the one survey of the whole model cannot follow."""
    changed = override.parameters or {}
    if method.survey is None or method.survey_scope(replace(parameters, **changed)) != "model":
        return
    for field in fields(parameters):
        if field.name in changed and field.metadata["surveyed"]:
            raise UserError(
                f"{method.name}'s {field.name} is of the whole model and cannot differ for '{override.pattern}': "
                "give that pattern the scope tensor too"
            )


def check_overrides(overrides: Sequence[Override], tensors: Iterable[str]) -> None:
    """Raises UserError if an override's pattern matches none of the tensors: it would silently do nothing."""
    names = list(tensors)
    for override in overrides:
        if not any(fnmatchcase(name, override.pattern) for name in names):
            raise UserError(f"no tensor matches the pattern '{override.pattern}'; there is {names[0]}, for one")
