"""The Trainer's arguments: objects from class paths, anew each time; mistakes told before training."""

from typing import Any

import pytest
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.strategies import SingleDeviceStrategy

from mu_lightning.settings import RunSettings
from mu_lightning.training.trainer import bare_trainer, built_arguments
from mu_lightning.utilities.errors import UserError

STOPPING = {
    "class_path": "lightning.pytorch.callbacks.EarlyStopping",
    "init_args": {"monitor": "train/loss", "patience": 2},
}


def test_class_paths_become_objects_and_each_time_new_ones() -> None:
    arguments = RunSettings(
        trainer={
            "callbacks": [STOPPING, EarlyStopping("train/loss", patience=3)],
            "strategy": {
                "class_path": "lightning.pytorch.strategies.SingleDeviceStrategy",
                "init_args": {
                    "device": "cpu",
                    "precision_plugin": {"class_path": "lightning.pytorch.plugins.Precision"},
                },
            },
        }
    ).trainer
    one, other = built_arguments(arguments), built_arguments(arguments)
    assert [type(each) for each in one["callbacks"]] == [EarlyStopping] * 2
    assert [each.patience for each in one["callbacks"]] == [2, 3]
    assert not {id(each) for each in one["callbacks"]} & {id(each) for each in other["callbacks"]}
    assert isinstance(one["strategy"], SingleDeviceStrategy)
    assert type(one["strategy"].precision_plugin).__name__ == "Precision"
    assert one["max_epochs"] == 6


def test_building_leaves_the_arguments_as_they_are_for_the_next_training() -> None:
    arguments = RunSettings(trainer={"callbacks": [STOPPING]}).trainer
    for _ in range(2):
        assert [type(each) for each in built_arguments(arguments)["callbacks"]] == [EarlyStopping]
    assert arguments["callbacks"] == [STOPPING]


def test_one_callback_need_not_be_a_list_and_none_is_no_callback() -> None:
    assert [
        type(one) for one in built_arguments(RunSettings(trainer={"callbacks": STOPPING}).trainer)["callbacks"]
    ] == [EarlyStopping]
    assert built_arguments(RunSettings().trainer)["callbacks"] == []


def test_a_bare_trainer_writes_nothing_and_has_the_runs_limits() -> None:
    trainer = bare_trainer(RunSettings(trainer={"accelerator": "cpu", "max_epochs": 2, "callbacks": STOPPING}).trainer)
    assert trainer.max_epochs == 2
    assert trainer.loggers == []
    assert not trainer.early_stopping_callbacks


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"callbacks": [{"class_path": "lightning.pytorch.callbacks.EarlyStoping"}]}, "trainer: "),
        ({"callbacks": [{**STOPPING, "init_args": {"monitor": "train/loss", "pace": 2}}]}, "pace"),
        ({"gradient_clip_val": -1}, "trainer.gradient_clip_val is -1: expected a number at least 0"),
        ({"precision": "16-mixed"}, "float16 is not supported"),
        ({"accelerator": "abacus"}, "trainer: "),
    ],
)
def test_what_lightning_would_refuse_later_is_refused_as_one_line(
    plan: Any, trainer: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan(locales="nl-NL", trainer={"accelerator": "cpu", **trainer})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_auto_is_the_precision_that_the_machine_computes_in(plan: Any) -> None:
    found = plan(locales="nl-NL", trainer={"accelerator": "cpu", "precision": "auto"})
    assert found.settings.trainer["precision"] in ("32-true", "bf16-mixed")
