"""Builds merge schedules from flags, text or mappings."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from mu_lightning.schedules.schedules import SCHEDULES, Adaptive, AnyOf, EveryEpochs, PerformanceTriggered, Schedule
from mu_lightning.settings import MergeSettings
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.parameters import read_parameters
from mu_lightning.utilities.yaml_files import load_yaml


def build_schedule(
    wanted: str | Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]] | None = None
) -> Schedule:
    """Builds a schedule from a configuration.

    >>> build_schedule("every-steps:n=50")
    EverySteps(n=50)
    >>> build_schedule({"name": "any-of", "schedules": ["adaptive:start=2", {"name": "plateau"}]}).state(Past())["name"]
    'any-of'

    Args:
        wanted: a name; a name with parameters, ``adaptive:start=2,longest=6``; several of these joined by ``+`` (any
            of them); or a mapping with ``name`` and parameters, where ``any-of`` has a list of ``schedules``.
        defaults: name -> parameters that replace the defaults.

    Raises:
        UserError: an unknown schedule or parameter (similar names are suggested), or an invalid value.
    """
    if isinstance(wanted, str):
        wanted = _parsed(wanted)
    given = dict(wanted)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise UserError(f"a schedule has a name, such as {{name: adaptive, start: 2}}; given: {dict(wanted)}")
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    if name == AnyOf.name:
        parts = given.pop("schedules", None)
        if given or not isinstance(parts, Sequence) or isinstance(parts, str):
            raise UserError("any-of has one parameter, a list: {name: any-of, schedules: [adaptive, plateau]}")
        return AnyOf(tuple(build_schedule(part, defaults) for part in parts))
    schedule = SCHEDULES[name]
    known = {field.name for field in fields(schedule)}
    own = {key: value for key, value in (defaults or {}).get(name, {}).items() if key in known}
    return schedule(**own | read_parameters(name, schedule, given))


def list_schedules() -> str:
    """Lists all schedules with parameters and defaults."""
    parts = []
    for name, schedule in SCHEDULES.items():
        lines = [f"{name}: {(schedule.__doc__ or '').strip()}"]
        for field in fields(schedule):
            if "kind" in field.metadata:
                choices = field.metadata["choices"]
                allowed = f" ({' | '.join(choices)})" if choices else ""
                lines.append(f"    {field.name} = {field.default}{allowed}: {field.metadata['help']}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def schedule_of(settings: MergeSettings) -> Schedule:
    """Builds the schedule of a run's merge settings.

    Without ``schedule`` it is every `frequency` epochs, adaptive with ``adaptive``, and combined with the performance
    trigger with ``performance_trigger``.

    Raises:
        UserError: see `build_schedule`; or a schedule together with conflicting flags.
    """
    if settings.frequency < 0:
        raise UserError(
            f"merge frequency {settings.frequency}: expected a number of epochs, or 0 to merge only at the end"
        )
    threshold = {"convergence_threshold": settings.convergence_threshold}
    defaults: dict[str, Mapping[str, Any]] = dict.fromkeys(SCHEDULES, threshold)
    defaults |= {EveryEpochs.name: {"n": settings.frequency}, Adaptive.name: {"start": settings.frequency, **threshold}}
    if settings.schedule is None:
        parts = [Adaptive.name if settings.adaptive else EveryEpochs.name]
        parts += [PerformanceTriggered.name] if settings.performance_trigger else []
        return build_schedule("+".join(parts), defaults)
    if settings.adaptive or settings.performance_trigger:
        flag = "--adaptive-merge-frequency" if settings.adaptive else "--performance-merge-trigger"
        raise UserError(
            f"{flag} beside the schedule {settings.schedule}: name both as one, --schedule adaptive+performance"
        )
    return build_schedule(settings.schedule, defaults)


def _parsed(text: str) -> Mapping[str, Any]:
    if text.lstrip().startswith("{"):
        value = load_yaml(text, "the schedule")
        if isinstance(value, Mapping):
            return value
    parts = []
    for part in text.split("+"):
        name, colon, rest = part.strip().partition(":")
        pairs = [pair.partition("=") for pair in rest.split(",")] if colon else []
        if any(not equals for _, equals, _ in pairs):
            raise UserError(f"a schedule is written name:parameter=value,..., as in adaptive:start=2, not '{part}'")
        parts.append({"name": name, **{key.strip(): value.strip() for key, _, value in pairs}})
    return parts[0] if len(parts) == 1 else {"name": AnyOf.name, "schedules": parts}
