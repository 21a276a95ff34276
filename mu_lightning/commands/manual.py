"""The reference part of docs/cli.md, from the parsers: `python -m mu_lightning.commands.manual` prints it."""

import importlib
from argparse import Action
from collections.abc import Iterable, Iterator

from jsonargparse import ArgumentParser

from mu_lightning.commands import fit
from mu_lightning.commands.program import COMMANDS
from mu_lightning.utilities.adapters.parser_arguments import arguments
from mu_lightning.utilities.tables import markdown_table


def verb_parser(verb: str) -> ArgumentParser:
    """A verb's parser, without the part that LightningCLI adds."""
    if verb in fit.SUMMARIES:
        return fit.parser(verb)
    parser: ArgumentParser = importlib.import_module(f"mu_lightning.commands.{verb}").parser()
    return parser


def flags(verb: str) -> Iterator[Action]:
    """A verb's arguments, without help and what jsonargparse adds of its own."""
    parser = verb_parser(verb)
    settings = set(parser.get_defaults().keys())  # a group, such as --model, is no setting of its own
    for action in arguments(parser):
        if action.dest in settings and any(name.startswith("--") for name in action.option_strings):
            yield action


def reference(verbs: Iterable[str]) -> str:
    """Every verb with a table of its arguments, as Markdown."""
    parts = []
    for verb in verbs:
        rows = [(_names(action), _default(action), _help(action)) for action in flags(verb)]
        parts.append(f"### {verb}\n\n{verb_parser(verb).description}\n\n{_left(rows)}")
    return "\n".join(parts)


def _names(action: Action) -> str:
    names = list(action.option_strings)
    short = [name for name, key in fit.SHORT_NAMES.items() if key in names]
    return ", ".join(f"`{name}`" for name in names + short)


def _default(action: Action) -> str:
    default = action.default
    return "" if default in (None, "==SUPPRESS==") else f"`{default}`"


def _help(action: Action) -> str:
    return " ".join((action.help or "").replace("|", "\\|").split())


def _left(rows: list[tuple[str, str, str]]) -> str:
    return markdown_table(("argument", "default", "meaning"), rows).replace("---:", "---")


if __name__ == "__main__":
    print(reference(COMMANDS))
