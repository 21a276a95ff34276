"""A small run with merges, and what stood before and after each of them."""

from collections.abc import Mapping
from typing import Any

import pytest
from lightning.pytorch import Callback
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.ensemble import Ensemble
from mu_lightning.schedules.schedules import EveryEpochs, Schedule
from tests.conftest import merge_settings

TARGET = "af-ZA"
WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}


class Witness(Callback):
    """Copies the members' weights and the optimizer's state around the merges: stand it on both sides of them."""

    def __init__(self) -> None:
        self.weights: list[dict[str, dict[str, Tensor]]] = []
        self.moments: list[dict[str, list[dict[str, Tensor]]]] = []
        self.scores: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        state = trainer.optimizers[0].state
        members = {name: pl_module.member(name) for name in WEIGHTS}
        self.weights.append(
            {
                name: {key: value.clone() for key, value in member.model.state_dict().items()}
                for name, member in members.items()
            }
        )
        self.moments.append(
            {
                name: [
                    {key: value.clone() for key, value in state[parameter].items()} for parameter in member.parameters()
                ]
                for name, member in members.items()
            }
        )
        loaders = trainer.datamodule.eval_loaders("dev", [TARGET])
        panel = {**members, "ensemble": Ensemble(members, WEIGHTS)}
        self.scores.append({name: evaluate(module, loaders)[TARGET].accuracy for name, module in panel.items()})


@pytest.fixture
def merged_run(joint: Any, data_module: Any, trainer: Any) -> Any:
    """Trains and merges; gives the callback and what stood before and after: ``merged_run(epochs, n, **settings)``."""

    def run(
        epochs: int = 1,
        every: int = 1,
        weights: Mapping[str, float] = WEIGHTS,
        schedule: Schedule | None = None,
        others: Mapping[str, Mapping[str, float]] | None = None,
        **settings: Any,
    ) -> tuple[MergeCallback, Witness, Witness]:
        chosen = schedule or EveryEpochs(every)
        merges = MergeCallback(TARGET, weights, chosen, merge_settings(**settings), others=others)
        before, after = Witness(), Witness()
        fitting = trainer(epochs, before, merges, after)
        fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
        return merges, before, after

    return run
