"""The parser of all commands, with one-line errors for command lines and configuration files."""

import difflib
import os
import re
from argparse import SUPPRESS, Action, HelpFormatter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, Namespace, get_loader, set_loader

from mu_lightning.commands.help_text import all_sections, help_text
from mu_lightning.commands.invocation import program_name
from mu_lightning.commands.older_names import older_names, with_current_names
from mu_lightning.settings.bounds import BOUNDS
from mu_lightning.utilities.adapters.parser_arguments import arguments
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.yaml_files import checked, dump_yaml, read_yaml

# Repeated keys and unbounded YAML are errors everywhere.
set_loader("yaml", checked(get_loader("yaml")), exceptions=(yaml.YAMLError,))

_KEY = re.compile(r'Parser key "(?P<key>[^"]+)":\s*')
_GIVEN = re.compile(r"(?:Got|Given) value: (?P<value>.*)")
_EXPECTED = re.compile(r"Expected an? (?P<type>.*?)(?:\. Got value: .*)?$", re.MULTILINE)
_REFUSED = re.compile(r"unrecognized arguments: (?P<flag>\S+)|does not accept option '(?P<option>[^']+)'")
_WHOLE = re.compile(r"[={\[/]")
_NAME = re.compile(r"(?:argument \S+|Parser key \"[^\"]+\"):\s*(?P<message>unknown .*)")
_CHOICE = re.compile(r"argument (?P<flag>\S+): invalid choice: '(?P<value>[^']*)' \(choose from (?P<known>.*)\)")


class OneLineErrors(ArgumentParser):
    """A parser that raises one-line `UserError` with similar arguments.

    Abbreviated arguments are errors. Multiple values can be separated by commas or spaces.

    Attributes:
        more_names: further names on the command line, such as short names.
        older: older name -> current argument, on the command line and in configuration files.
        verbatim: arguments whose values are not split at commas.
        short: short name -> key, for the help.
        frequent: title -> arguments in ``--help``; ``--help-all`` shows all.
        sections: title -> arguments, for the help.
    """

    more_names: tuple[str, ...] = ()
    older: Mapping[str, str] = {}
    verbatim: tuple[str, ...] = ()
    short: Mapping[str, str] = {}
    frequent: Mapping[str, Sequence[str]] = {}

    def __init__(self, *more: Any, **given: Any) -> None:
        super().__init__(*more, **{"allow_abbrev": False, **given})
        self.sections: dict[str, list[str]] = {}

    def section(self, title: str) -> Callable[..., Action]:
        """`add_argument` for a section of the help."""

        def add(*names: str, **given: Any) -> Action:
            self.sections.setdefault(title, []).append(names[0])
            return self.add_argument(*names, **given)

        return add

    def help_text(self, everything: bool = False) -> str:
        """Formats the help: frequent arguments, or all of them."""
        if not self.frequent or everything:
            return help_text(self, all_sections(self, self.sections), self.short)
        more = f"{self.prog} --help-all lists all arguments, which are also the keys of YAML files for --config"
        return help_text(self, self.frequent, self.short, more)

    def format_help(self, formatter: HelpFormatter | None = None) -> str:
        """As `ArgumentParser.format_help`, in the layout of `help_text`."""
        del formatter
        return self.help_text()

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **given: Any) -> Any:  # type: ignore[override]
        """See `ArgumentParser.parse_args`; raises UserError."""
        if args is not None:
            args = with_current_names(list(args), self.older)
            several = {name for action in arguments(self) if action.nargs == "+" for name in action.option_strings}
            args = list(separated(args, several - set(self.verbatim)))
        try:
            found = super().parse_args(args, *more, **given)
        except OverflowError as error:  # an integer where a float is expected
            raise UserError(f"a number of the arguments is too large ({error})") from error
        except (RuntimeError, TypeError, AttributeError, LookupError) as error:  # a mapping where a list is expected
            raise UserError(f"an argument or a key has a value of another type ({error})") from error
        for action in arguments(self):
            bound = BOUNDS.get(action.dest.rpartition(".")[2])
            if bound is not None:
                bound.check(action.option_strings[0], found.get(action.dest))
        return found

    def parse_path(self, cfg_path: str | os.PathLike[str], *more: Any, **given: Any) -> Namespace:
        """See `ArgumentParser.parse_path`; raises UserError for invalid files."""
        read_yaml(Path(cfg_path))
        return super().parse_path(cfg_path, *more, **given)

    def parse_string(self, content: str, *more: Any, **given: Any) -> Namespace:
        """See `ArgumentParser.parse_string`; replaces older keys."""
        return super().parse_string(_with_current_keys(content, self.older), *more, **given)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises UserError instead of exiting."""
        choice = _CHOICE.search(message)
        if choice is not None:
            known = [name.strip().strip("'") for name in choice["known"].split(",")]
            raise unknown(f"value of {choice['flag']}", choice["value"], known) from ex
        name = _NAME.fullmatch(message)
        if name is not None:
            raise UserError(name["message"]) from ex
        refused = _REFUSED.search(message)
        if refused is None:
            raise UserError(one_line(message)) from ex
        given = (refused["flag"] or f"--{refused['option']}").partition("=")[0]
        shown = (action for action in arguments(self) if action.help != SUPPRESS)
        flags = (name for action in shown for name in action.option_strings)
        known = [name for name in (*flags, *self.more_names) if name.startswith("--")]
        near = difflib.get_close_matches(given, known, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"see {self.prog} --help"
        raise UserError(f"unknown argument '{given}': {hint}") from ex


def command_parser(command: str, description: str) -> OneLineErrors:
    """Builds the parser of a command with ``--config``.

    Args:
        command: name of the command.
        description: description for the help.
    """
    result = OneLineErrors(prog=f"{program_name()} {command}", description=description)
    result.older = older_names(command)
    result.add_argument("--config", action="config", help="YAML file with any of these arguments")
    return result


def separated(words: Sequence[str], several: Collection[str]) -> Iterator[str]:
    """Splits values of multi-value arguments at commas.

    Values with one of ``= { [ /`` are not split: they may be paths, or have parameters with commas.

    Args:
        words: the command line.
        several: multi-value arguments, such as ``--locales``.

    >>> list(separated(["--votes", "soft,", "majority", "--title", "a,b", "--votes=x,y"], {"--votes"}))
    ['--votes', 'soft', 'majority', '--title', 'a,b', '--votes', 'x', 'y']
    """
    inside = False
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if word.startswith("-"):
            inside = word in several
            # A following word would be parsed as another value.
            last = place + 1 == len(words) or words[place + 1].startswith("-")
            if equals and name in several and "," in value and last and not _WHOLE.search(value):
                yield from (name, *value.replace(",", " ").split())
                continue
        elif inside and "," in word and not _WHOLE.search(word):
            yield from word.replace(",", " ").split()
            continue
        yield word


def one_line(message: str) -> str:
    r"""Converts an error of jsonargparse to one line.

    >>> one_line("Parser key \"top_k\":\n  Expected a <class 'int'>. Got value: x")
    "top_k is 'x': expected int"
    """
    key, given = _KEY.search(message), _GIVEN.search(message)
    expected = [_plain(found["type"]) for found in _EXPECTED.finditer(message)]
    if key and given and expected:
        return f"{key['key']} is '{given['value']}': expected {' or '.join(dict.fromkeys(expected))}"
    return " ".join(_KEY.sub(lambda found: f"{found['key']}: ", message).split())


def _plain(kind: str) -> str:
    kind = kind.removeprefix("<class '").removesuffix("'>").removeprefix("typing.")
    kind = kind.removeprefix("Literal[").removesuffix("]") if kind.startswith("Literal[") else kind
    return {"NoneType": "null", "pathlib.Path": "path"}.get(kind, kind)


def _with_current_keys(content: str, older: Mapping[str, str]) -> str:
    """Replaces older keys in a configuration; other types are left to the parser."""
    keys = {_key(name): _key(now) for name, now in older.items()}
    try:
        found = yaml.safe_load(content)
    except yaml.YAMLError:
        return content
    if not isinstance(found, dict) or not found.keys() & keys.keys():
        return content
    for key in found.keys() & keys.keys():
        if keys[key] in found:
            raise UserError(f"the keys {key} and {keys[key]} are equivalent: remove {key}, its older name")
    return dump_yaml({keys.get(key, key): value for key, value in found.items()})


def _key(name: str) -> str:
    """Returns the configuration key of an argument."""
    return name.removeprefix("--").replace("-", "_")
