"""A mistake on the command line is one line, whatever the command."""

from pathlib import Path

import pytest

import cli
from mu_lightning.commands.manual import parser_of
from mu_lightning.commands.parsing import OneLineErrors, one_line, separated
from mu_lightning.utilities.errors import UserError


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_offers_the_nearest_argument(command: str) -> None:
    with pytest.raises(UserError) as refused:
        parser_of(command).parse_args(["--confg", "x.yaml"])
    assert str(refused.value).startswith("unknown argument '--confg': did you mean --config")


def test_where_nothing_is_near_the_help_is_named() -> None:
    with pytest.raises(UserError, match="unknown argument '--zzzz': see mu-lightning merge --help"):
        parser_of("merge").parse_args(["--zzzz=1"])


def test_a_value_of_the_wrong_kind_names_key_value_and_kind() -> None:
    parser = OneLineErrors()
    parser.add_argument("--top-k", type=int)
    parser.add_argument("--rate", type=float | None)
    parser.add_argument("--vote", choices=("soft", "majority"))
    for words, expected in (
        (["--top-k", "x"], "top_k is 'x': expected int"),
        (["--rate", "fast"], "rate is 'fast': expected float or null"),
        (["--vote", "sofd"], "unknown value of --vote 'sofd': did you mean soft?"),
        (["--rate"], "argument --rate: expected one argument"),
    ):
        with pytest.raises(UserError) as refused:
            parser.parse_args(words)
        assert str(refused.value) == expected


def test_whatever_else_is_said_is_folded_into_one_line() -> None:
    assert one_line("Problems\n  in the file,\n  line 3") == "Problems in the file, line 3"


@pytest.mark.parametrize(
    ("command", "flag", "values"),
    [
        ("ensemble", "voting-methods", ["majority", "soft"]),
        ("ensemble", "preweights", ["uriel", "equal"]),
        ("ensemble", "target-languages", ["sq-AL", "km-KH"]),
        ("sweep", "methods", ["linear", "dare_ties"]),
        ("sweep", "modes", ["similarity", "average"]),
        ("sweep", "num-languages", [3, 5]),
        ("sweep", "seeds", [0, 1]),
        ("sweep", "baselines", ["native", "joint"]),
        ("sts", "poolings", ["mean", "cls"]),
        ("schedule", "schedules", ["adaptive", "plateau"]),
        ("nxn", "sources", ["sq-AL", "km-KH"]),
    ],
)
def test_lists_are_separated_by_commas_spaces_or_both(command: str, flag: str, values: list[object]) -> None:
    words = [str(value) for value in values]
    for given in (words, [",".join(words)], [", ".join(words)], [f"{words[0]},", words[1]]):
        parsed = parser_of(command).parse_args([f"--{flag}", *given])
        assert parsed[flag.replace("-", "_")] == values
    joined = parser_of(command).parse_args([f"--{flag}={','.join(words)}"])
    assert joined[flag.replace("-", "_")] == values


def test_commas_that_belong_to_a_value_stay_in_it() -> None:
    several = {"--schedules", "--methods", "--model-paths"}
    for words in (
        ["--schedules", "adaptive:start=2,longest=6+plateau", "never"],
        ["--methods", '{"name": "ties", "density": 0.3}'],
        ["--model-paths", "runs/a,b/merged"],
        ["--title", "before, and after"],
        ["--methods=ties,linear", "results"],  # what follows would become a third method
    ):
        assert list(separated(words, several)) == words
    assert list(separated(["--methods", "a,b", "--title", "c,d"], several)) == ["--methods", "a", "b", "--title", "c,d"]


@pytest.mark.parametrize("flag", ["compare", "multilingual", "resume", "enable-wandb", "dry-run"])
def test_a_switch_of_fit_can_be_switched_off_again(flag: str, tmp_path: Path) -> None:
    (tmp_path / "on.yaml").write_text(f"{flag.replace('-', '_')}: true\n")
    for words, expected in (
        ([], False),
        ([f"--{flag}"], True),
        ([f"--{flag}", "--seed_everything", "1"], True),
        ([f"--config={tmp_path / 'on.yaml'}"], True),
        ([f"--config={tmp_path / 'on.yaml'}", f"--{flag}", "false"], False),
        ([f"--config={tmp_path / 'on.yaml'}", f"--{flag}=false"], False),
    ):
        assert parser_of("fit").parse_args(words)[flag.replace("-", "_")] is expected


def test_a_mapping_where_a_list_is_expected_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("locales: {'': null}\nseed_everything: 1\n")
    with pytest.raises(UserError, match="value of another type"):
        parser_of("fit").parse_args(["--config", str(tmp_path / "c.yaml")])
