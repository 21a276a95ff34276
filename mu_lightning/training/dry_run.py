"""Describes a training run without running it."""

from collections.abc import Iterator
from pathlib import Path

from lightning.pytorch import Trainer

from mu_lightning.data.turns import Turns
from mu_lightning.monitoring.forecast import next_merge
from mu_lightning.schedules.schedules import Past
from mu_lightning.training.memory import phases, try_out
from mu_lightning.training.merging.merge_plan import check_merge
from mu_lightning.training.run_plan import RunPlan
from mu_lightning.training.trainer import bare_trainer
from mu_lightning.typology.plan import table
from mu_lightning.utilities.tables import counted, text_table

MIB = 2**20


def describe(plan: RunPlan) -> str:
    """Describes members, weights, steps, merges, files and predicted peak memory of a run.

    It trains a few members for a few steps and evaluates one to measure memory; nothing is saved.

    Args:
        plan: the validated run.
    """
    trainer = bare_trainer(plan.settings.trainer)
    return "\n".join((*_members(plan, trainer), *_files(plan), *_memory(plan, trainer)))


def _members(plan: RunPlan, trainer: Trainer) -> Iterator[str]:
    settings, data = plan.settings, plan.data(plan.members)
    yield from plan.notes
    yield from map(table, plan.targets)
    module = plan.joint(list(plan.members)[:1])
    count = sum(one.numel() for one in module.parameters())
    yield (
        f"{counted(len(plan.members), 'member')} of {Path(settings.model.base).name} on {plan.corpus.name}, "
        f"{count / 1e6:,.1f} million parameters each ({plan.vocabulary_used}), "
        f"learning rate {module.learning_rate:.1e}, {trainer.precision}:"
    )
    batches = data.member_batches()
    rows = [
        (name, ", ".join(locales), f"{sum(len(data.rows(tag, 'train')) for tag in locales):,}", str(batches[name]))
        for name, locales in plan.members.items()
    ]
    yield text_table(("member", "learns from", "rows", "batches an epoch"), rows)
    limit = trainer.limit_train_batches
    most = None if limit == 1.0 and isinstance(limit, float) else limit
    if isinstance(most, float):
        most = int(max(batches.values()) * most)
    steps = trainer.max_steps if trainer.max_steps > 0 else None
    turns = Turns(batches, 0, trainer.accumulate_grad_batches, limit=most, max_steps=steps)
    epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
    yield (
        f"{counted(turns.steps, 'optimizer step')} an epoch, batches of {data.batch_size}, "
        + (counted(epochs, "epoch") if epochs else counted(steps, "step") if steps else "no end")
    )
    if plan.sources is not None and plan.merges:
        schedule = check_merge(settings.merge, plan.sources)
        first = next_merge(schedule, Past([], []), 0, 0, turns.steps, epochs)
        merging = settings.merge
        yield f"merged by {merging.method}, schedule {schedule.name}: {first}; then members {merging.sync}"


def _files(plan: RunPlan) -> Iterator[str]:
    yield f"writes to {plan.output_dir}: checkpoints, results.json" + (", merges, merged" if plan.merges else "")
    for name, folder in plan.exports.items():
        yield f"writes the model of {name} to {folder}"


def _memory(plan: RunPlan, trainer: Trainer) -> Iterator[str]:
    found = phases(plan, try_out(plan, trainer), trainer)
    most = max(found, key=lambda phase: phase.total)
    device = trainer.strategy.root_device
    where = "private memory of each process" if device.type == "cpu" else f"memory of each device ({device.type})"
    yield f"predicted peak memory: {_size(most.total)} ({where}), while {most.name}:"
    yield text_table(("what", "MiB"), [(what, _mib(size)) for what, size in sorted(most.parts.items(), key=_by_size)])
    others = [f"{phase.name} {_size(phase.total)}" for phase in found if phase is not most]
    yield f"at other times: {', '.join(others)}"


def _by_size(part: tuple[str, int]) -> int:
    return -part[1]


def _mib(size: int) -> str:
    return f"{size / MIB:,.0f}"


def _size(size: int) -> str:
    return f"{_mib(size)} MiB"
