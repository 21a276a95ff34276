"""`RunSettings`: made in Python or parsed, plain for the record, fit to be sent to another process."""

import inspect
import json
import pickle
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping

from mu_lightning.commands.lightning_cli import FitCLI
from mu_lightning.settings import (
    TRAINER_DEFAULTS,
    DataSettings,
    LoraSettings,
    MergeSettings,
    ModelSettings,
    RunSettings,
    TrainerArguments,
    TypologySettings,
)
from mu_lightning.utilities.errors import UserError

# Something other than the default in every group.
SETTINGS = RunSettings(
    seed=4,
    locales=("nl-NL", "de-DE"),
    output_dir=Path("out"),
    target_lang="af-ZA",
    target_languages=("af-ZA", "en-US"),
    preweight="manual",
    weights={"nl-NL": 0.7, "de-DE": 0.3},
    callbacks={"progress": "lightning.pytorch.callbacks.RichProgressBar", "dashboard": None},
    data=DataSettings(corpus="small", data_dir=Path("data")),
    model=ModelSettings(patience=2, lora=LoraSettings(r=2, target_modules=["query"])),
    typology=TypologySettings(similarity_matrix=Path("m.csv")),
    merge=MergeSettings("ties", {"density": 0.5}, schedule={"name": "every-epochs", "n": 2}, tolerance=0.1),
    trainer={
        "max_epochs": 2,
        "devices": [0],
        "callbacks": [
            {
                "class_path": "lightning.pytorch.callbacks.early_stopping.EarlyStopping",
                "init_args": {"monitor": "train/loss", "patience": 2},
            }
        ],
    },
)


class Parsed(FitCLI):
    """`fit` up to the point where its settings are made."""

    def instantiate_classes(self) -> None:
        self.run = None
        self.found = self.settings()

    def fit(self) -> None:
        pass


def test_what_is_not_given_has_its_default_and_locales_become_tuples() -> None:
    found = RunSettings(target_lang="af-ZA", exclude="nl-NL, de-DE", trainer={"max_epochs": 2})  # type: ignore[arg-type]
    assert found.exclude == ("nl-NL", "de-DE")
    assert found.trainer == {**TRAINER_DEFAULTS, "max_epochs": 2}
    assert found.data == DataSettings()
    assert found.targets == ("af-ZA",)
    assert SETTINGS.targets == ("af-ZA", "en-US")
    with pytest.raises(FrozenInstanceError):
        found.seed = 1  # type: ignore[misc]


def test_settings_reach_another_process_as_they_are() -> None:
    assert pickle.loads(pickle.dumps(SETTINGS)) == SETTINGS


def test_the_record_is_plain_and_names_what_no_file_can_hold() -> None:
    plain = SETTINGS.plain()
    assert json.loads(json.dumps(plain)) == yaml.safe_load(yaml.safe_dump(plain)) == plain
    assert plain["seed_everything"] == 4
    assert plain["exclude"] is None
    assert plain["data"]["data_dir"] == "data"
    with_object = RunSettings(trainer={"callbacks": [EarlyStopping("train/loss")]}).plain()
    assert with_object["trainer"]["callbacks"] == [
        {"class_path": "lightning.pytorch.callbacks.early_stopping.EarlyStopping"}
    ]


@pytest.mark.parametrize("settings", [SETTINGS, RunSettings()], ids=["every group", "defaults"])
def test_the_record_is_a_configuration_file_of_the_same_run(settings: RunSettings, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings.plain()))
    parsed = Parsed(["fit", "--config", str(tmp_path / "config.yaml")]).found
    for field in fields(RunSettings):
        if field.name != "trainer":
            assert getattr(parsed, field.name) == getattr(settings, field.name), field.name
    given: dict[str, Any] = {name: parsed.trainer.get(name) for name in settings.trainer if name != "callbacks"}
    assert given == {name: value for name, value in settings.trainer.items() if name != "callbacks"}
    callbacks = parsed.trainer.get("callbacks") or []
    assert [one["init_args"]["patience"] for one in callbacks] == [2] * len(settings.trainer.get("callbacks") or [])


def test_the_trainers_arguments_are_lightnings() -> None:
    known = inspect.signature(Trainer.__init__).parameters.keys() - {"self"}
    assert set(TrainerArguments.__annotations__) == known
    with pytest.raises(UserError, match="unknown argument of Lightning's Trainer 'max_epoch': did you mean max_epochs"):
        RunSettings(trainer={"max_epoch": 3})  # type: ignore[typeddict-unknown-key]
