"""Every number that a user can give has bounds, on the command line, in configuration files and in Python."""

import math
from argparse import Action, ArgumentParser
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

import pytest

import cli
from mu_lightning.commands.manual import parser_of
from mu_lightning.commands.parsing import OneLineErrors
from mu_lightning.settings import (
    CheckpointSettings,
    DataSettings,
    GuardSettings,
    LoraSettings,
    MergeSettings,
    ModelSettings,
    PretrainSettings,
    RunSettings,
    TypologySettings,
)
from mu_lightning.settings.bounds import BOUNDS
from mu_lightning.utilities.adapters.parser_arguments import arguments, type_of
from mu_lightning.utilities.errors import UserError

GROUPS = (
    CheckpointSettings,
    DataSettings,
    GuardSettings,
    LoraSettings,
    MergeSettings,
    ModelSettings,
    PretrainSettings,
    RunSettings,
    TypologySettings,
)
# Zero, negative, not finite, huge, beyond every type, empty.
VALUES = ("0", "-1", "-0.5", ".nan", "-.inf", ".inf", "1e400", "9223372036854775808", "1" + "0" * 400, "1" * 5000, "")


def numeric(kind: Any) -> bool:
    return kind in (int, float) or bool({int, float} & set(get_args(kind)))


def within(name: str, value: Any) -> bool:
    bound = BOUNDS[name]
    limits = (
        (bound.least, lambda limit: value >= limit),
        (bound.most, lambda limit: value <= limit),
        (bound.above, lambda limit: value > limit),
        (bound.below, lambda limit: value < limit),
    )
    return math.isfinite(value) and all(limit is None or holds(limit) for limit, holds in limits)


def numbers_of(parser: ArgumentParser) -> list[Action]:
    return [one for one in arguments(parser) if numeric(type_of(one))]


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_number_of_a_command_is_within_its_bounds_or_refused(command: str) -> None:
    for action in numbers_of(parser_of(command)):
        name = action.dest.rpartition(".")[2]
        assert name in BOUNDS, f"{command} {action.option_strings}: add its bounds to settings/bounds.py"
        parser = OneLineErrors()  # with this argument alone, as a whole command's takes its time
        parser.add_argument(action.option_strings[0], type=type_of(action), nargs=action.nargs, default=action.default)
        for value in VALUES:
            try:
                found = parser.parse_args([f"{action.option_strings[0]}={value}"])[action.dest]
            except UserError:
                continue
            for one in found if isinstance(found, list) else [found]:
                assert not isinstance(one, int | float) or isinstance(one, bool) or within(name, one), (action, value)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_so_is_every_number_of_the_settings_in_python(group: type) -> None:
    kinds = get_type_hints(group)
    for one in fields(group):
        if not numeric(kinds[one.name]):
            continue
        for value in (math.nan, -math.inf, math.inf, 10**400, -(10**400), -2, 10**18):
            if within(one.name, value) if abs(value) < 10**300 else False:
                continue
            with pytest.raises(UserError, match=one.name):
                replace(group(), **{one.name: value})


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"max_epochs": 0}, "trainer.max_epochs is 0"),
        ({"max_steps": 0}, "trainer.max_steps is 0"),
        ({"max_epochs": -1}, "no limit"),
        ({"max_epochs": -2}, "trainer.max_epochs is -2: expected a number at least -1"),
    ],
)
def test_a_training_has_a_beginning_and_an_end(trainer: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunSettings(trainer=trainer)  # type: ignore[arg-type]
    RunSettings(trainer={"max_epochs": -1, "max_steps": 10})
