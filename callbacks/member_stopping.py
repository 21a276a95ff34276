"""MemberStopping: early stopping for each member."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mu_lightning.models.joint import JointClassifier


class MemberStopping(Callback):
    """Stops training a member whose dev accuracy does not improve; the run ends when all members have stopped.

    A stopped member makes no steps but is still included in merges.

    Args:
        patience: number of validations without improvement.

    Attributes:
        best: best dev accuracy of each member: the mean over its train locales.
        waited: number of validations since then, for each member.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best: dict[str, float] = {}
        self.waited: dict[str, int] = {}

    @property
    def stopped(self) -> set[str]:
        """Returns the members that have stopped."""
        return {name for name, waited in self.waited.items() if waited >= self.patience}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.stopped = self.stopped  # type: ignore[assignment]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, JointClassifier)
        if trainer.sanity_checking:
            return
        members: dict[str, tuple[str, ...]] = trainer.datamodule.members  # type: ignore[attr-defined]
        for name in members.keys() - self.stopped:
            found = [pl_module.scores[locale].accuracy for locale in members[name]]
            accuracy = sum(found) / len(found)
            if accuracy > self.best.get(name, -1.0):
                self.best[name], self.waited[name] = accuracy, 0
                continue
            self.waited[name] += 1
            if self.waited[name] >= self.patience:
                trainer.print(
                    f"{name} stops training in epoch {trainer.current_epoch + 1}: its dev accuracy has not improved on "
                    f"{self.best[name]:.3f} for {self.patience} epochs"
                )
        pl_module.stopped = self.stopped
        if self.stopped == set(members):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best), "waited": dict(self.waited)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = dict(state_dict["best"]), dict(state_dict["waited"])
