"""A validated merge without its tensors: method, parameters, weights and overrides by tensor."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mu_lightning.merging.engine.checks import check_plan, check_weights
from mu_lightning.merging.method import Method
from mu_lightning.merging.method_parameters import build_parameters
from mu_lightning.merging.methods.shared.scaling import SCALE, is_head
from mu_lightning.merging.methods.shared.weighting import scaled_weights
from mu_lightning.merging.registry import find_method
from mu_lightning.utilities.errors import UserError, check_number

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
        missing_in_base: tensors that the base lacks (a classification head). They have no task vector: a method on task
            vectors averages them, others merge them without a scale.
    """

    method: Method
    parameters: Any
    names: tuple[str, ...]
    weights: tuple[float, ...]
    seed: int = 0
    device: "torch.device | None" = None
    overrides: tuple[Override, ...] = ()
    missing_in_base: frozenset[str] = frozenset()

    @property
    def scale(self) -> float:
        """Factor of the merged task vector; of one tensor if the overrides are applied (`of`)."""
        return float(getattr(self.parameters, SCALE)) if self.method.scalable else 1.0

    @property
    def sees_base(self) -> bool:
        """Whether a given base model is used."""
        scales = [self.scale, *((each.parameters or {}).get(SCALE, 1.0) for each in self.overrides)]
        return self.method.sees_base or (self.method.scalable and any(scale != 1 for scale in scales))

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
        if tensor in self.missing_in_base and self.method.sees_base:
            average = find_method("linear")
            return replace(job, method=average, parameters=average.parameters())
        if self.method.scalable and tensor in self.missing_in_base:
            parameters[SCALE] = 1.0
        elif self.method.scalable and is_head(tensor):
            parameters.setdefault(SCALE, 1.0)
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
            missing base, or a seed out of range.
    """
    method = find_method(method)
    check_number("the seed", seed, least=0, most=2**32 - 1)
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
    job = Job(
        method=method,
        parameters=built,
        names=tuple(names),
        weights=tuple(float(weights[name]) for name in names),
        seed=seed,
        device=None if device is None else _device(device),
        overrides=tuple(changes),
    )
    if job.sees_base and not method.sees_base and not has_base:
        raise UserError(
            f"{method.name} with a {SCALE} other than 1 scales the task vector and needs the base model that the "
            "sources were fine-tuned from"
        )
    return job


def needs_base(method: str | Method, parameters: Mapping[str, Any] | None, overrides: Sequence[Override] = ()) -> bool:
    """Whether a merge needs the base model: its method does, or a ``scale`` other than 1.

    Raises:
        UserError: unknown method or parameter.
    """
    method = find_method(method)
    if method.needs_base or not method.scalable:
        return method.needs_base
    given = [each for each in (parameters, *(one.parameters for one in overrides)) if each and SCALE in each]
    return any(getattr(build_parameters(method, {SCALE: each[SCALE]}), SCALE) != 1 for each in given)


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


def check_scales(job: Job, tensors: Iterable[str]) -> None:
    """Raises UserError if an override scales nothing but tensors that the base lacks, which have no task vector."""
    names = list(tensors)
    for override in job.overrides if job.method.scalable else ():
        if (override.parameters or {}).get(SCALE, 1.0) != 1:
            matched = {name for name in names if fnmatchcase(name, override.pattern)}
            if matched <= job.missing_in_base:
                raise UserError(
                    f"the pattern '{override.pattern}' has a {SCALE}, but the base has none of its tensors: they have "
                    "no task vector"
                )
