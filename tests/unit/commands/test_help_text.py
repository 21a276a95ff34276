"""`--help` shows what people use, `--help-all` the rest; neither shows a parser's types."""

import pytest

import cli
from mu_lightning.commands.help_text import all_sections, listed
from mu_lightning.commands.manual import parser_of


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_the_help_shows_some_twenty_flags_in_sections_and_names_the_rest(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = parser_of(command)
    frequent = [name for names in parser.frequent.values() for name in names]
    assert len(set(frequent)) == len(frequent) <= 24
    assert cli.main([command, "--help"]) == 0
    short = capsys.readouterr().out
    assert cli.main([command, "--help-all"]) == 0
    everything = capsys.readouterr().out
    for title, names in parser.frequent.items():
        assert f"\n{title}:\n" in short
        assert [name for name in names if f"  {name}" not in short or f"  {name}" not in everything] == []
    assert f"{command} --help-all" in short
    assert len(short.splitlines()) < 100
    assert len(everything.splitlines()) > len(short.splitlines())


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_whole_help_has_every_argument_once_under_one_of_its_names(command: str) -> None:
    parser = parser_of(command)
    named = [name for names in all_sections(parser, parser.sections).values() for name in names]
    assert len(set(named)) == len(named) == len(listed(parser))
    text = parser.help_text(everything=True)
    for action in listed(parser):
        names = [
            *action.option_strings,
            *(short for short, key in parser.short.items() if key in action.option_strings),
        ]
        assert any(f"  {name}" in text for name in names), action.option_strings
    assert "(type:" not in text
    assert "==SUPPRESS==" not in text
    assert "default: None" not in text


def test_defaults_are_shown_where_they_say_something() -> None:
    text = parser_of("fit").help_text(everything=True)
    for said in ("random seed (default: 0)", "(default: linear)", "(default: checkpoints/xlm-r-cldr)"):
        assert said in " ".join(text.split())
    assert "  --compare " in text  # a switch takes no value
