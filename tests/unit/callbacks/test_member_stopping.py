"""A member that gets no better stops; the others go on, merges still have it, and a resumed run knows."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from mu_lightning.callbacks.member_stopping import MemberStopping
from mu_lightning.callbacks.merge import MergeCallback

from mu_lightning.schedules.schedules import EveryEpochs
from mu_lightning.settings import MergeSettings

MEMBERS = ("en-US", "nl-NL")


class Scripted(Callback):
    """Puts scripted dev accuracies in place of those that were measured, before `MemberStopping` reads them."""

    def __init__(self, accuracies: dict[str, list[float]]) -> None:
        self.accuracies = accuracies
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        pl_module.scores = {
            name: SimpleNamespace(accuracy=values[trainer.current_epoch]) for name, values in self.accuracies.items()
        }
        state = pl_module.member("en-US").merge_state()
        self.weights.append({key: value.clone() for key, value in state.items()})


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_a_member_stops_after_so_many_epochs_without_a_rise_and_the_others_go_on(
    joint: Any, data_module: Any, trainer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Scripted({"en-US": [0.5, 0.6, 0.6, 0.4, 0.9], "nl-NL": [0.1, 0.2, 0.3, 0.4, 0.5]})
    stopping, module = MemberStopping(2), joint(MEMBERS)
    fitting = trainer(5, script, stopping, limit_val_batches=1.0)
    fitting.fit(module, datamodule=data_module(MEMBERS))
    assert module.stopped == stopping.stopped == {"en-US"}
    assert stopping.best == {"en-US": 0.6, "nl-NL": 0.5}
    said = "en-US stops training in epoch 4: its dev accuracy has not improved on 0.600 for 2 epochs"
    assert said in capsys.readouterr().out
    assert not same(script.weights[2], script.weights[3])
    assert same(script.weights[3], script.weights[4])


def test_the_run_ends_once_all_have_stopped(joint: Any, data_module: Any, trainer: Any) -> None:
    script = Scripted({"en-US": [0.5] * 9, "nl-NL": [0.1, 0.2, *[0.2] * 9]})
    fitting = trainer(9, script, MemberStopping(1), limit_val_batches=1.0)
    fitting.fit(joint(MEMBERS), datamodule=data_module(MEMBERS))
    assert fitting.current_epoch == 3


def test_a_stopped_member_is_still_merged(joint: Any, data_module: Any, trainer: Any) -> None:
    script = Scripted({"en-US": [0.5] * 4, "nl-NL": [0.1, 0.2, 0.3, 0.4]})
    merges = MergeCallback("af-ZA", {"en-US": 0.5, "nl-NL": 0.5}, EveryEpochs(1), MergeSettings())
    module = joint(MEMBERS)
    trainer(4, script, MemberStopping(1), merges, limit_val_batches=1.0).fit(module, datamodule=data_module(MEMBERS))
    assert module.stopped == {"en-US"}
    assert [record["committed"] for record in merges.history] == [True] * 4
    assert merges.merged is not None
    assert same(module.member("en-US").merge_state(), merges.merged)
    # Between merges it stands still: what it has at an epoch's end is the last merge's result.
    assert not same(script.weights[2], script.weights[3])


def test_a_resumed_run_knows_who_has_stopped(joint: Any, data_module: Any, trainer: Any, tmp_path: Any) -> None:
    script = Scripted({"en-US": [0.5] * 5, "nl-NL": [0.1, 0.2, 0.3, 0.4, 0.5]})
    first = trainer(3, script, MemberStopping(1), limit_val_batches=1.0)
    first.fit(joint(MEMBERS), datamodule=data_module(MEMBERS))
    first.save_checkpoint(tmp_path / "last.ckpt")
    stopping, module = MemberStopping(1), joint(MEMBERS)
    resumed = trainer(5, script, stopping, limit_val_batches=1.0)
    resumed.fit(module, datamodule=data_module(MEMBERS), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert module.stopped == {"en-US"}
    assert stopping.best == {"en-US": 0.5, "nl-NL": 0.5}
    assert same(script.weights[2], script.weights[-1])
