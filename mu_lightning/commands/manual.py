"""Prints the reference of docs/cli.md: `python -m mu_lightning.commands.manual`."""

import importlib
from argparse import Action
from collections.abc import Iterable

from mu_lightning.commands import fit_arguments
from mu_lightning.commands.help_text import listed
from mu_lightning.commands.older_names import OLDER_ARGUMENTS, OLDER_BASELINES, OLDER_NAMES, OLDER_PREWEIGHTS
from mu_lightning.commands.parsing import OneLineErrors
from mu_lightning.commands.program import COMMANDS
from mu_lightning.utilities.tables import markdown_table

HEADER = ("argument", "default", "meaning")


def parser_of(command: str) -> OneLineErrors:
    """Builds the parser of a command, without LightningCLI."""
    if command in fit_arguments.SUMMARIES:
        return fit_arguments.parser(command)
    parser: OneLineErrors = importlib.import_module(f"mu_lightning.commands.{command}").parser()
    return parser


def flags(command: str) -> list[Action]:
    """Returns the documented arguments of a command."""
    return listed(parser_of(command))


def reference(commands: Iterable[str]) -> str:
    """Formats the reference of all commands and the older names, as Markdown."""
    parts = []
    for command in commands:
        parser = parser_of(command)
        rows = [(_names(action, parser), _default(action), _help(action)) for action in listed(parser)]
        parts.append(f"### {command}\n\n{parser.description}\n\n{_left(HEADER, rows)}")
    older = _left(("command", "older name", "now"), older_rows())
    parts.append(
        f"### Older names\n\nDeprecated names, also in configuration files; `--help` does not list them.\n\n{older}"
    )
    return "\n".join(parts)


def older_rows() -> list[tuple[str, str, str]]:
    """Returns command, older name and current name."""
    rows = [(command, f"`{name}`", f"`{now}`") for command, names in OLDER_NAMES.items() for name, now in names.items()]
    rows += [(command, f"`{name}`", now) for command, names in OLDER_ARGUMENTS.items() for name, now in names.items()]
    rows += [("all", f"`--preweight {name}`", f"`--preweight {now}`") for name, now in OLDER_PREWEIGHTS.items()]
    rows += [("sweep", f"`--baselines {name}`", f"`--baselines {now}`") for name, now in OLDER_BASELINES.items()]
    return rows


def _names(action: Action, parser: OneLineErrors) -> str:
    names = list(action.option_strings)
    short = [name for name, key in parser.short.items() if key in names]
    return ", ".join(f"`{name}`" for name in short + names)


def _default(action: Action) -> str:
    default = action.default
    return "" if default in (None, "==SUPPRESS==") else f"`{default}`"


def _help(action: Action) -> str:
    return " ".join((action.help or "").replace("|", "\\|").split())


def _left(header: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    return markdown_table(header, rows).replace("---:", "---")


if __name__ == "__main__":
    print(reference(COMMANDS))
