"""Validates the merge settings of a run before training."""

from mu_lightning.merging.engine.job import plan_job
from mu_lightning.merging.registry import find_method
from mu_lightning.schedules.parsing import schedule_of
from mu_lightning.schedules.schedules import Schedule
from mu_lightning.settings import MergeSettings
from mu_lightning.training.merging.reweighting import READS_TARGET
from mu_lightning.typology.plan import SourcePlan
from mu_lightning.utilities.errors import UserError, unknown

_CHOICES = {
    "sync": ("replace", "pull", "none"),
    "follow": ("first", "mean", "none"),
    "moments": ("average", "keep", "reset"),
    "learning_rate": ("continue", "rewarm"),
    "outer": ("none", "nesterov"),
    "reweight": tuple(READS_TARGET),
}


def check_merge(merging: MergeSettings, sources: SourcePlan) -> Schedule:
    """Validates the merge settings of a run for the sources of a target, and returns the schedule.

    Raises:
        UserError: an unknown method, schedule, parameter or choice; a method that needs data; contradicting settings or
            values out of range.
    """
    method = find_method(merging.method)
    if method.needs_statistics:
        raise UserError(
            f"{method.name} needs {method.needs_statistics}, which is not available during training: use another method"
        )
    plan_job(method, sources.weights, sources.sources, has_base=True, parameters=merging.parameters)
    schedule = schedule_of(merging)
    for name, choices in _CHOICES.items():
        if getattr(merging, name) not in choices:
            raise unknown(f"merge.{name}", str(getattr(merging, name)), choices)
    if merging.outer != "none" and "none" in (merging.sync, merging.follow):
        raise UserError(
            "an outer optimizer needs members that follow the merged model: use "
            "--merge.sync replace or pull, or remove --merge.outer"
        )
    if schedule.reads_scores and not merging.score_epochs:
        raise UserError(
            f"the schedule {schedule.name} uses the scores of each epoch: remove --merge.score_epochs false"
        )
    if merging.reweight != "none" and not method.takes_weights:
        raise UserError(f"{method.name} does not use weights: remove --merge.reweight")
    return schedule
