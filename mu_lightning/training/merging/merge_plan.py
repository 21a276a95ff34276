"""What merging while training will do, checked before anything long begins."""

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
    """Checks the merge settings of a run against a target's sources; gives the schedule that they ask for.

    Raises:
        UserError: an unknown method, schedule, parameter or choice; a method that needs data; settings that contradict
            each other or are out of range.
    """
    method = find_method(merging.method)
    if method.needs_statistics:
        raise UserError(
            f"{method.name} needs {method.needs_statistics}, which training does not have: choose another method"
        )
    plan_job(method, sources.weights, sources.sources, has_base=True, parameters=merging.parameters)
    schedule = schedule_of(merging)
    for name, choices in _CHOICES.items():
        if getattr(merging, name) not in choices:
            raise unknown(f"merge.{name}", str(getattr(merging, name)), choices)
    if merging.outer != "none" and "none" in (merging.sync, merging.follow):
        raise UserError(
            "an outer optimizer steps from where members start after a merge, but they keep their own weights: choose "
            "--merge.sync replace or pull, or leave out --merge.outer"
        )
    if schedule.reads_scores and not merging.score_epochs:
        raise UserError(
            f"the schedule {schedule.name} reads the scores of each epoch: leave out --merge.score_epochs false"
        )
    if merging.reweight != "none" and not method.takes_weights:
        raise UserError(f"{method.name} takes no weights, so there is nothing to re-read: leave out --merge.reweight")
    return schedule
