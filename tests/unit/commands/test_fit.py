"""The light half of `fit`: short names, and what of the arguments is checked before Lightning is imported."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from mu_lightning.commands import fit
from mu_lightning.commands.fit import without_objects
from mu_lightning.commands.invocation import program_name
from mu_lightning.commands.program import usage
from mu_lightning.commands.short_names import expand_short_names


def test_short_names_are_keys_of_the_command() -> None:
    assert expand_short_names("fit", ["--top-k", "5", "--seed=1"]) == ["--typology.top_k", "5", "--seed_everything=1"]
    assert expand_short_names("fit", ["--batch-size", "5"]) == ["--data.batch_size", "5"]
    assert expand_short_names("test", ["--batch-size", "5"]) == ["--data.eval_batch_size", "5"]
    assert expand_short_names("test", ["--top-k", "5"]) == ["--top-k", "5"]
    switch = ["--adaptive-merge-frequency", "--top-k", "5"]
    assert expand_short_names("fit", switch) == ["--merge.adaptive", "true", "--typology.top_k", "5"]
    assert expand_short_names("fit", [switch[0], "false"]) == ["--merge.adaptive", "false"]


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--trainer.callbacks", "my.Callback", "--locales", "nl-NL"], ["--locales", "nl-NL"]),
        (["--trainer.callbacks=my.Callback", "--trainer.max_epochs", "-1"], ["--trainer.max_epochs", "-1"]),
        (["--trainer.callbacks+", "a.B", "--trainer.callbacks.patience", "3", "--compare"], ["--compare"]),
        (["--trainer", "trainer.yaml", "--trainer.logger.init_args.name=x"], []),
        (["--trainer.max_epoch", "3"], ["--trainer.max_epoch", "3"]),
    ],
)
def test_what_lightning_alone_can_read_is_left_to_it(words: Sequence[str], kept: Sequence[str]) -> None:
    assert without_objects(list(words)) == kept


def test_a_configuration_with_objects_for_the_trainer_passes_the_check(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "trainer:\n  callbacks:\n    - class_path: lightning.pytorch.callbacks.Timer\n      init_args: {duration: 1}\n"
        "  limit_train_batches: 2\nlocales: [nl-NL]\n"
    )
    asked = fit.parser("fit").parse_args(["--config", str(path)])
    fit._check("fit", asked)
    assert asked.trainer.limit_train_batches == 2


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("cli.py", "python cli.py"),
        ("/a/mu_lightning/__main__.py", "python -m mu_lightning"),
        ("/a/pytest/__main__.py", "mu-lightning"),
        ("/usr/bin/mu-lightning", "mu-lightning"),
    ],
)
def test_the_program_is_called_what_it_was_started_as(script: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", [script])
    assert program_name() == name
    assert usage().startswith(f"usage: {name} COMMAND")
    assert fit.parser("fit").prog == f"{name} fit"
