"""Lists of names are taken from the registries: what is registered stands in the help and can be asked for."""

import ast
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

import cli
from mu_lightning.approaches.registry import APPROACHES
from mu_lightning.commands import names
from mu_lightning.commands.manual import flags, parser_of
from mu_lightning.commands.names import NameOf
from mu_lightning.data.registry import CORPORA
from mu_lightning.experiments.presets import BASELINES
from mu_lightning.merging import registry
from mu_lightning.models.poolings import POOLINGS
from mu_lightning.models.votes import VOTES
from mu_lightning.schedules.schedules import SCHEDULES
from mu_lightning.typology.features import FEATURE_SETS
from mu_lightning.typology.weights import WEIGHT_SOURCES
from mu_lightning.utilities.errors import UserError

COMMANDS = Path(names.__file__).parent
# Each registry, and the commands with the arguments that take its names.
REGISTRIES: dict[str, tuple[MutableMapping[str, Any], list[tuple[str, str]]]] = {
    "votes": (VOTES, [("ensemble", "--voting-method"), ("sweep", "--voting-methods")]),
    "weight sources": (
        WEIGHT_SOURCES,
        [("fit", "--preweight"), ("merge", "--preweight"), ("ensemble", "--preweight"), ("sweep", "--preweights")],
    ),
    "merge methods": (
        registry._MODULES,
        [("fit", "--merge.method"), ("merge", "--merge-method"), ("sweep", "--methods")],
    ),
    "schedules": (SCHEDULES, [("fit", "--merge.schedule"), ("schedule", "--schedule")]),
    "corpora": (
        CORPORA,
        [
            *((command, "--data.corpus") for command in ("fit", "validate", "test")),
            *(
                (command, "--corpus")
                for command in ("merge", "ensemble", "nxn", "sweep", "report", "pretrain", "predict", "data")
            ),
        ],
    ),
    "feature sets": (
        FEATURE_SETS,
        [("fit", "--typology.feature_set"), ("merge", "--feature-set"), ("similarity", "--feature-set")],
    ),
    "baselines": (BASELINES, [("sweep", "--baselines")]),
    "approaches": (APPROACHES, [("sweep", "--approaches")]),
    "poolings": (POOLINGS, [("sts", "--pooling")]),
}


def help_of(command: str, name: str) -> str:
    (found,) = [action.help or "" for action in flags(command) if name in action.option_strings]
    return found


@pytest.mark.parametrize("what", REGISTRIES)
def test_what_is_registered_stands_in_the_help(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registered, places = REGISTRIES[what]
    monkeypatch.setitem(registered, "brand_new", next(iter(registered.values())))
    for command, name in places:
        described = help_of(command, name)
        assert [entry for entry in registered if entry not in described] == [], (command, name)


def test_what_is_registered_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--voting-method", "brand_new"]
    with pytest.raises(UserError, match="unknown voting method 'brand_new'"):
        parser_of("ensemble").parse_args(words)
    monkeypatch.setitem(VOTES, "brand_new", VOTES["soft"])
    assert parser_of("ensemble").parse_args(words).voting_method == "brand_new"


def test_choices_are_constants_and_names_are_of_registries() -> None:
    for path in sorted(COMMANDS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "choices":
                assert isinstance(node.value, ast.Name), f"{path.name}: {ast.unparse(node)}"
    registries = {id(each.registry) for each in vars(names).values() if isinstance(each, NameOf)}
    types = [action.type for command in cli.COMMANDS for action in flags(command)]
    assert {id(each.registry) for each in types if isinstance(each, NameOf)} == registries


def test_an_unknown_name_is_refused_with_the_nearest_by_flag_and_by_file(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("preweight: uriell\n")
    for words in (["--preweight", "uriell"], ["--config", str(tmp_path / "wrong.yaml")]):
        with pytest.raises(UserError) as refused:
            parser_of("merge").parse_args(words)
        assert str(refused.value) == "unknown weight source 'uriell': did you mean uriel?"
