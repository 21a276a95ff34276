"""What argparse keeps to itself about a parser's arguments is still where the adapter finds it."""

import argparse

import pytest
from jsonargparse import ArgumentParser

from mu_lightning.settings import GuardSettings
from mu_lightning.utilities.adapters.parser_arguments import WholeWords, arguments

CHANGED = "argparse no longer keeps arguments in `_actions`: mend utilities/adapters/parser_arguments.py"


def test_a_parsers_arguments_are_all_found_those_of_groups_too() -> None:
    parser = ArgumentParser()
    parser.add_argument("--locales", nargs="+", help="locales")
    parser.add_argument_group("trainer").add_argument("--trainer.devices", default=1)
    parser.add_class_arguments(GuardSettings, "guard")
    found = {name: action for action in arguments(parser) for name in action.option_strings}
    assert {"--locales", "--trainer.devices", "--guard.retries"} <= found.keys(), CHANGED
    assert (found["--locales"].nargs, found["--locales"].help) == ("+", "locales"), CHANGED
    assert found["--guard.retries"].dest == "guard.retries", CHANGED


@pytest.mark.parametrize("width", range(36, 48))
def test_no_line_of_the_help_ends_within_a_word(width: int) -> None:
    words = "the methods that --list-methods names, for sq-AL, de-DE, en-US, nl-NL, ro-RO and it-IT"
    parser = argparse.ArgumentParser(
        usage="x", add_help=False, formatter_class=lambda prog: WholeWords(prog, width=width)
    )
    parser.add_argument("--a", help=words)
    _, _, shown = parser.format_help().partition("--a A")
    assert shown.count("\n") > 2
    assert shown.split() == words.split(), "argparse splits help elsewhere now: mend adapters/parser_arguments.py"
