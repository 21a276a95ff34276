"""Strict YAML loader for files and the command line, and a dumper.

Values are those of PyYAML (YAML 1.1), except that ``1e-5`` is a number and dates are text, as in jsonargparse. Repeated
keys, deep nesting and exponential aliases are errors.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_text

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 64
MAX_VALUES = 200_000  # number of values, including expanded aliases
_MERGE = "tag:yaml.org,2002:merge"
_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)
    |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


class _Loader(yaml.CSafeLoader):
    """PyYAML's safe loader with JSON numbers and without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper that also quotes texts which other readers take for a number or a switch."""


# Numbers of jsonargparse and YAML 1.2, and the switches of YAML 1.1 that PyYAML does not have.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Dumper.add_implicit_resolver("!number", re.compile(r"0o[0-7]+$|[-+]?[0-9.]+[eE][-+]?[0-9]+$"), list("-+0123456789."))
_Dumper.add_implicit_resolver("!switch", re.compile("[yYnN]$"), list("yYnN"))


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # PyYAML would write some of these as line breaks that are read as spaces; escaped, a text is on one line.
    style = '"' if any(sign in value for sign in "\n\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


class RefusedYamlError(yaml.YAMLError):
    """Raised for valid YAML that is rejected."""


def read_yaml(path: Path) -> Any:
    """Reads a YAML file.

    Raises:
        UserError: see `read_text`; or invalid YAML, a repeated key, or too many values.
    """
    return load_yaml(read_text(path, max_bytes=MAX_BYTES), str(path))


def dump_yaml(value: Any) -> str:
    """Formats plain values as YAML, in their order: every text is read back as the same text, also by other readers."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def load_yaml(text: str, what: str) -> Any:
    """Parses a YAML document.

    Args:
        text: the document.
        what: file name or description, for the error.

    Raises:
        UserError: see `read_yaml`.
    """
    try:
        return _loaded(text)
    except yaml.YAMLError as error:
        raise UserError(f"{what} is not valid YAML: {' '.join(str(error).split())}") from error


def checked(load: Callable[[str], Any]) -> Callable[[str], Any]:
    """Wraps the YAML loader of another library with the checks of `load_yaml`, as `yaml.YAMLError`.

    Args:
        load: the loader.
    """

    def loader(text: str) -> Any:
        _loaded(text)
        return load(text)

    return loader


def _loaded(text: str) -> Any:
    try:
        _check_bounds(text)
        return _built(text)
    # PyYAML converts tagged values without checks: !!int x, !!bool maybe, !!timestamp now.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise RefusedYamlError(f"a value is not what its tag or form says ({error})") from error


def _built(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        for mapping in _mappings(node):
            _check_keys(loader, mapping)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_bounds(text: str) -> None:
    """Counts values from parser events, before they are constructed."""
    counts, names = [0], [""]  # open collections, the document first
    anchored: dict[str, int] = {}
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            count, name = counts.pop(), names.pop()
            if name:
                anchored[name] = count
        elif isinstance(event, yaml.CollectionStartEvent):
            counts.append(1)
            names.append(event.anchor or "")
            if len(counts) > MAX_DEPTH:
                raise RefusedYamlError(f"it is nested more than {MAX_DEPTH} levels deep")
            continue
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in names:
                line = f" (line {event.start_mark.line + 1})" if event.start_mark else ""
                raise RefusedYamlError(f"*{event.anchor} refers to itself{line}")
            count = anchored.get(event.anchor or "", 1)
        elif isinstance(event, yaml.ScalarEvent):
            count = 1
            if event.anchor:
                anchored[event.anchor] = count
        else:
            continue
        counts[-1] += count
        if counts[-1] > MAX_VALUES:
            raise RefusedYamlError(f"it expands to more than {MAX_VALUES:,} values, aliases included")


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Yields every mapping below a node once."""
    waiting, seen = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            yield node
            below = [part for pair in node.value for part in pair]
        else:
            below = node.value if isinstance(node, yaml.SequenceNode) else []
        for part in below:
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def _check_keys(loader: _Loader, mapping: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in mapping.value:
        if key.tag == _MERGE or not isinstance(key, yaml.ScalarNode):
            continue
        name, line = str(loader.construct_object(key)), key.start_mark.line + 1
        if name in lines:
            raise RefusedYamlError(f"the key '{name}' is repeated in a mapping, in lines {lines[name]} and {line}")
        lines[name] = line
