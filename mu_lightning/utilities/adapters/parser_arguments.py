"""What argparse, which jsonargparse builds on, has no public way to: a parser's arguments, and help in whole words."""

import textwrap
from argparse import Action, ArgumentParser, HelpFormatter
from typing import Any


def arguments(parser: ArgumentParser) -> list[Action]:
    """All arguments of a parser, those of its groups included, in the order in which they were added."""
    return list(parser._actions)


def type_of(action: Action) -> Any:
    """The type of an argument's values."""
    return getattr(action, "_typehint", None) or action.type


class WholeWords(HelpFormatter):
    """argparse's layout of help, in which no line ends within a word such as ``--list-methods`` or ``sq-AL``."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False, break_long_words=False)
