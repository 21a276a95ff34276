"""Source models merged while they train: schedule, method, weights, what follows a merge, outer optimizer."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mu_lightning.approaches.base import Built, Cell, Needs, Training
from mu_lightning.approaches.from_sources import FromSources
from mu_lightning.results.identity import plain
from mu_lightning.settings import MergeSettings
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    from mu_lightning.approaches.base import Inputs

# What of the merge settings the label says in words of its own, or what is only kept and never changes a result.
_IN_LABEL = ("method", "parameters", "schedule")
_KEPT = ("keep_merges",)
# Flags that stand for a schedule, which is recorded itself.
_FLAGS = ("frequency", "adaptive", "performance_trigger", "convergence_threshold")


@dataclass(frozen=True)
class Iterative(FromSources):
    """Source models that are merged while they train.

    Attributes:
        merge: when and how they are merged, and what follows.
        training: how they are trained.
        others: of a run for several targets: the others, for which the models are merged too.
    """

    name: ClassVar[str] = "iterative"
    summary: ClassVar[str] = "source models merged while they train, on a schedule"

    merge: MergeSettings = field(default_factory=MergeSettings)
    training: Training = field(default_factory=Training)
    others: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises UserError for merge settings that are unknown or contradict each other too."""
        from mu_lightning.schedules.parsing import schedule_of

        super().check()
        schedule_of(self.merge)

    def draws(self) -> bool:
        """It trains, so its seed always decides."""
        return True

    def label(self) -> str:
        """The method, the schedule, and every merge setting that is not the default."""
        from mu_lightning.merging.registry import find_method

        defaults, merge = MergeSettings(), self.merge
        parameters = " ".join(f"{name} {value}" for name, value in sorted(merge.parameters.items()))
        more = [
            f"{one.name.replace('_', ' ')} {getattr(merge, one.name)}"
            for one in fields(merge)
            if one.name not in (*_IN_LABEL, *_KEPT, *_FLAGS) and getattr(merge, one.name) != getattr(defaults, one.name)
        ]
        method = f"{merge.method} ({parameters})" if parameters else merge.method
        weighs = find_method(merge.method).takes_weights
        return ", ".join([self.named("iterative", method, weighs=weighs), _when(merge), *more])

    def needs(self, cell: Cell) -> Needs:
        """Nothing that others could make for it: it trains."""
        return Needs(trains=True)

    def build(self, cell: Cell, inputs: "Inputs", folder: Path) -> Built:
        """Trains in `folder`, or goes on with what an earlier attempt left there.

        Raises:
            UserError: nothing was merged, or every merge was rolled back: there is no merged model then.
        """
        from mu_lightning.approaches.trained import run_settings, train

        settings = run_settings(
            cell.problem,
            self.training,
            cell.seed,
            folder,
            target_lang=cell.target,
            target_languages=self.others,
            # Of several targets each chooses its own sources.
            locales=() if self.others else cell.sources,
            num_languages=len(cell.sources),
            preweight=self.preweight,
            weights=self.weights,
            typology=self.typology,
            merge=self.merge,
            callbacks={"kept_merges": None},  # the cell keeps its result, and no model of each merge
        )
        _, trained = train(settings)
        if cell.target not in trained.merged:
            why = "every merge was rolled back" if trained.history else "nothing was merged"
            raise UserError(f"{why}: the run has no merged model")
        details = {"weights": trained.weights(cell.target), "merges": len(trained.history)}
        return Built(trained.classifier(cell.target).plain(), trained.supervision(cell.target), details)

    def plain(self) -> dict[str, Any]:
        """Every parameter but what is only kept on the disk."""
        from mu_lightning.schedules.parsing import schedule_of

        values = super().plain()
        merge = {key: value for key, value in values["merge"].items() if key not in (*_KEPT, *_FLAGS)}
        return values | {"merge": merge | {"schedule": plain(schedule_of(self.merge).plain())}}


def _when(merge: MergeSettings) -> str:
    """The schedule in a few words."""
    from mu_lightning.schedules.parsing import schedule_of

    return schedule_of(merge).describe()
