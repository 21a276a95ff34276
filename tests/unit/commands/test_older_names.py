"""One thing has one name on every command; older names still work and stand in no help."""

from pathlib import Path

import pytest

import cli
from mu_lightning.commands.manual import flags, parser_of
from mu_lightning.commands.merge import _base
from mu_lightning.commands.older_names import OLDER_ARGUMENTS, OLDER_NAMES
from mu_lightning.commands.short_names import expand_short_names
from mu_lightning.utilities.errors import UserError

OLDER = [(command, old, now) for command, names in OLDER_NAMES.items() for old, now in names.items()]
HIDDEN = [(command, name) for command, names in OLDER_ARGUMENTS.items() for name in names]
# What a value of an argument may be, where it is not any word.
VALUES = {"--merge-method": "ties"}
POSITIONAL = {"report": ["results"]}


@pytest.mark.parametrize(("command", "old", "now"), OLDER)
def test_an_older_name_means_what_the_present_one_means(command: str, old: str, now: str, tmp_path: Path) -> None:
    value, more = VALUES.get(now, "x"), POSITIONAL.get(command, [])
    if command == "fit":
        assert expand_short_names(command, [old, value]) == expand_short_names(command, [now, value])
        return
    parser = parser_of(command)
    for words in ([old, value], [f"{old}={value}"]):
        assert parser.parse_args([*words, *more]) == parser.parse_args([now, value, *more])
    if command == "schedule":  # its configuration is one of fit's
        return
    (tmp_path / "old.yaml").write_text(f"{old[2:].replace('-', '_')}: {value}\n")
    key = now[2:].replace("-", "_")
    assert str(parser.parse_args(["--config", str(tmp_path / "old.yaml"), *more])[key]) == value


def test_an_older_key_beside_the_present_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "both.yaml").write_text("output: a\noutput_dir: b\n")
    with pytest.raises(UserError, match="the keys output and output_dir are equivalent: remove output"):
        parser_of("merge").parse_args(["--config", str(tmp_path / "both.yaml")])


def test_older_arguments_work_and_stand_in_no_help() -> None:
    for command, name in HIDDEN:
        assert parser_of(command).parse_args([name, "x"])[name[2:].replace("-", "_")] in ("x", ["x"])
    for command, name in [*((command, old) for command, old, _ in OLDER), *HIDDEN]:
        assert f"{name} " not in parser_of(command).format_help()


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_name_is_never_completed(command: str) -> None:
    parser = parser_of(command)
    names = {name for action in flags(command) for name in action.option_strings if name.startswith("--")}
    for name in sorted(names):
        if len(name) > 4 and name[:-1] not in names:
            with pytest.raises(UserError) as refused:
                parser.parse_args([name[:-1], "x"])
            assert str(refused.value).startswith(f"unknown argument '{name[:-1]}': did you mean ")


def test_names_that_mean_one_thing_are_the_same_everywhere() -> None:
    every = {name for command in cli.COMMANDS for action in flags(command) for name in action.option_strings}
    short = {name for name in every if name.startswith("--") and "." not in name and name != "--seed_everything"}
    assert [name for name in short if "_" in name] == []
    assert short & {"--output", "--method", "--merge-algorithm", "--mode", "--base-model", "--model-dir"} == set()


def test_equal_is_the_one_name_of_equal_weights() -> None:
    for word in ("equal", "uniform", "average"):
        assert parser_of("ensemble").parse_args(["--preweight", word]).preweight == "equal"
        assert parser_of("fit").parse_args(["--preweight", word]).preweight == "equal"
        assert parser_of("sweep").parse_args(["--baselines", word]).baselines == ["equal"]


def test_a_base_is_the_encoder_that_is_named_or_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    parse = parser_of("merge").parse_args
    assert _base(parse(["--base", str(folder)]), {}, needed=False) == str(folder)
    assert _base(parse(["--base", "FacebookAI/xlm-roberta-base"]), {}, needed=True) == "FacebookAI/xlm-roberta-base"
    # A name alone only says which models are meant.
    assert _base(parse(["--base", "xlm-r"]), {}, needed=False) is None
    source = tmp_path / "xlm-r_cldr_nl-NL"
    source.mkdir()
    (source / "training_details.json").write_text('{"config": {"model": {"base": "org/xlm-r"}}}')
    assert _base(parse(["--base", "xlm-r"]), {"nl-NL": source}, needed=True) == "org/xlm-r"
    with pytest.raises(UserError, match="--base is mbert, but the sources' training details name org/xlm-r"):
        _base(parse(["--base", "mbert"]), {"nl-NL": source}, needed=True)


@pytest.mark.parametrize(
    "line",
    [
        "merge --mode similarity --target-lang sq-AL --num-languages 3 --top-k 20 --sinkhorn-iters 20",
        "merge --mode average --target-lang sq-AL",
        "merge --mode fisher --num-fisher-examples 200 --fisher-data-mode both --base-model xlm-roberta-base",
        "merge --mode task_arithmetic --param-value-mask-rate 0.3",
        "ensemble --target-lang sq-AL --voting-method uriel_logits --num-languages 5 --top-k 20 --sinkhorn-iters 20",
        "ensemble --target-languages en-US sq-AL sw-KE --voting-methods majority weighted_majority soft uriel_logits",
        "fit --target-lang sw-KE --max-epochs 15 --merge-frequency 3 --merge-algorithm linear --output-dir results",
        "fit --target-lang sw-KE --locales en-US,fr-FR,de-DE --adaptive-merge-frequency --performance-merge-trigger "
        "--convergence-threshold 1e-4 --checkpoint-before-merge --enable-wandb --save-config",
        "nxn --max-workers 4",
        "sweep --modes baseline similarity average --max-locales 10",
        "report results --locales sq-AL th-TH --experiment-types similarity baseline",
    ],
)
def test_the_older_scripts_command_lines_are_understood(line: str) -> None:
    command, *words = line.split()
    parser_of(command).parse_args(expand_short_names(command, words) if command == "fit" else words)
