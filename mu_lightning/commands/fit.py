"""The commands `fit`, `validate` and `test`: arguments are validated before heavy imports."""

import re
from collections.abc import Sequence
from typing import Any

from jsonargparse import Namespace

from mu_lightning.commands.fit_arguments import TRAINER_TYPES, parser
from mu_lightning.commands.short_names import expand_short_names
from mu_lightning.data.registry import open_corpus
from mu_lightning.languages import not_among
from mu_lightning.locales import locale, locale_list
from mu_lightning.merging.registry import METHODS
from mu_lightning.schedules.parsing import schedule_of
from mu_lightning.settings import RunSettings
from mu_lightning.settings.trainer import UNSUPPORTED_IN_EVALUATION, refuse_unsupported
from mu_lightning.training.members import training_locales
from mu_lightning.typology.features import parse_mix
from mu_lightning.utilities.errors import unknown
from mu_lightning.utilities.resources import resource

_TRAINER = re.compile(r"--trainer(?:\.(?P<name>\w+)(?P<more>.*))?(?:=|$)")


def run(command: str, argv: list[str]) -> int:
    """Runs one of the three commands; returns the exit status.

    Args:
        command: ``fit``, ``validate`` or ``test``.
        argv: arguments of the command.

    Raises:
        UserError: invalid arguments, before torch is imported; or an error of the command.
    """
    reader = parser(command)
    for flag, everything in (("-h", False), ("--help", False), ("--help-all", True)):
        if flag in argv:
            print(reader.help_text(everything))
            return 0
    words = _shipped_configs(expand_short_names(command, argv))
    if "--print_config" not in {word.partition("=")[0] for word in words}:
        _check(command, reader.parse_args(without_objects(words)))
    from mu_lightning.commands.lightning_cli import FitCLI, ScoreCLI

    (FitCLI if command == "fit" else ScoreCLI)([command, *words])
    return 0


def _check(command: str, asked: Namespace) -> None:
    """Raises UserError for invalid values, without reading models or data."""
    groups = asked.clone()
    trainer = groups.pop("trainer").as_dict()  # unchanged: classes must not be imported here
    asked = parser(command).instantiate(groups)
    locales: Sequence[str] = locale_list(asked.locales) or []
    settings = None
    if command != "fit":
        refuse_unsupported(trainer, UNSUPPORTED_IN_EVALUATION)
    else:
        given = {name: value for name, value in vars(asked).items() if name not in ("config", "seed_everything")}
        settings = RunSettings(seed=asked.seed_everything, trainer=trainer, **given)
        for tag in settings.targets:
            locale(tag)
        if settings.targets:
            if settings.merge.method not in METHODS:
                raise unknown("merge method", settings.merge.method, METHODS)
            schedule_of(settings.merge)
            parse_mix(settings.typology.feature_set)
    if asked.data.corpus == "hub":  # the run itself accesses the hub
        return
    corpus = open_corpus(asked.data)
    for tag in training_locales(settings, corpus) if settings else locales:
        if tag not in corpus.locales:
            locale(tag)
            raise not_among(f"the corpus {corpus.name}", tag, corpus.locales)


def without_objects(words: list[str]) -> list[str]:
    """Removes arguments of the Trainer with class paths, which LightningCLI parses.

    >>> without_objects(["--trainer.callbacks", "my.Callback", "--trainer.max_epochs", "3", "--trainer.logger=false"])
    ['--trainer.max_epochs', '3']
    """
    kept, dropping = [], False
    for word in words:
        if word.startswith("--"):
            found = _TRAINER.match(word)
            name, more = (found["name"], found["more"]) if found else (None, "")
            dropping = found is not None and (name is None or TRAINER_TYPES.get(name) is Any or bool(more))
        if not dropping:
            kept.append(word)
    return kept


def _shipped_configs(argv: list[str]) -> list[str]:
    result = []
    for place, word in enumerate(argv):
        if word.startswith("--config="):
            word = f"--config={resource(word.partition('=')[2])}"
        elif place and argv[place - 1] in ("-c", "--config"):
            word = str(resource(word))
        result.append(word)
    return result
