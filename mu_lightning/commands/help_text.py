"""Formats the help of a command, in sections."""

from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Mapping, Sequence
from typing import Any

import jsonargparse

from mu_lightning.utilities.adapters.parser_arguments import WholeWords, arguments


def listed(parser: jsonargparse.ArgumentParser) -> list[Action]:
    """Returns the documented arguments of a command, without older names."""
    settings = set(parser.get_defaults().keys())  # groups, such as --model, are not settings
    shown = [action for action in arguments(parser) if action.dest in settings and action.help != SUPPRESS]
    return [action for action in shown if any(name.startswith("--") for name in action.option_strings)]


def help_text(
    parser: jsonargparse.ArgumentParser,
    sections: Mapping[str, Sequence[str]],
    short: Mapping[str, str],
    more: str | None = None,
) -> str:
    """Formats the help of a command.

    Args:
        parser: parser of the command.
        sections: title -> arguments, by any of their names.
        short: short name -> argument.
        more: text at the end.
    """
    positional = [action for action in arguments(parser) if not action.option_strings]
    by_name = {name: action for action in listed(parser) for name in action.option_strings}
    by_name |= {name: by_name[key] for name, key in short.items()}
    shown = ArgumentParser(
        prog=parser.prog,
        usage=" ".join(["%(prog)s", *(action.dest.upper() for action in positional), "[arguments]"]),
        description=parser.description,
        epilog=more,
        add_help=False,
        formatter_class=lambda prog: WholeWords(prog, max_help_position=30),
    )
    for action in positional:
        shown.add_argument(action.dest, metavar=action.dest.upper(), help=_meaning(action))
    for title, names in sections.items():
        group = shown.add_argument_group(title)
        for name in names:
            action = by_name[name]
            written = [each for each, key in short.items() if key in action.option_strings]
            written = written or [each for each in action.option_strings if each[:2] == "--" and each[-1] != "+"]
            group.add_argument(*written, dest=action.dest, help=_meaning(action), **_value(action, written[-1]))
    return shown.format_help()


def all_sections(parser: jsonargparse.ArgumentParser, named: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns all arguments by section."""
    inside = {name for names in named.values() for name in names}
    found: dict[str, list[str]] = {"arguments": []} | {title: list(names) for title, names in named.items()}
    for action in listed(parser):
        if not inside & set(action.option_strings):
            group, dot, _ = action.option_strings[-1].removeprefix("--").partition(".")
            found.setdefault(group if dot else "arguments", []).append(action.option_strings[-1])
    return {title: names for title, names in found.items() if names}


def _meaning(action: Action) -> str:
    meaning = " ".join((action.help or "").replace("``", "").split())
    silent = action.default is None or action.default is False or action.default in ([], {}, SUPPRESS)
    if not silent and "(default:" not in meaning:
        default = " ".join(map(str, action.default)) if isinstance(action.default, list) else action.default
        meaning = f"{meaning.rstrip('.')} (default: {default})"
    return meaning.replace("%", "%%")


def _value(action: Action, name: str) -> dict[str, Any]:
    """Formats the metavar of an argument; empty for switches."""
    if action.nargs in (0, "?"):
        return {"action": "store_true"}
    value = name.removeprefix("--").rpartition(".")[2].replace("-", "_").upper()
    return {"metavar": value} | ({"nargs": "+"} if action.nargs == "+" else {})
