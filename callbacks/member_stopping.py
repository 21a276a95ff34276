"""MemberStopping: a member that gets no better stops to train, and the others go on."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mu_lightning.models.joint import JointClassifier


class MemberStopping(Callback):
    """Stops a member whose own dev accuracy has not risen for a while; the run ends once all have stopped.

    A stopped member takes no step, and its weights change in merges alone, in which it stays.

    Args:
        patience: validations (one an epoch, unless the trainer is told otherwise) without a rise.

    Attributes:
        best: member -> its best dev accuracy so far: the mean over the locales that it learns from.
        waited: member -> validations since then.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best: dict[str, float] = {}
        self.waited: dict[str, int] = {}

    @property
    def stopped(self) -> set[str]:
        """The members that no longer train."""
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
                    f"{name} stops to train in epoch {trainer.current_epoch + 1}: its dev accuracy has not risen above "
                    f"{self.best[name]:.3f} for {self.patience} epochs"
                )
        pl_module.stopped = self.stopped
        if self.stopped == set(members):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"best": dict(self.best), "waited": dict(self.waited)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.waited = dict(state_dict["best"]), dict(state_dict["waited"])
