"""YAML as this project reads it, in every file and on the command line.

Values are those of YAML 1.1 as PyYAML reads it, but that ``1e-5`` is a number and a date is text, as jsonargparse has
it. A key that stands twice in one mapping is refused, as one of the two would be lost; so is what would grow without
bound: aliases of aliases, and nesting.
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
MAX_VALUES = 200_000  # scalars, lists and mappings, with every alias counted as what it stands for
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
    """PyYAML's safe loader with numbers as JSON writes them and without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


class RefusedYamlError(yaml.YAMLError):
    """YAML that parses, and that is not read all the same."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        UserError: as of `read_text`; or it is not valid YAML, has a key twice in one mapping, or grows without bound.
    """
    return load_yaml(read_text(path, max_bytes=MAX_BYTES), str(path))


def load_yaml(text: str, what: str) -> Any:
    """The value that `text` stands for.

    Args:
        text: a YAML document.
        what: its file, or whatever it is, as the error calls it.

    Raises:
        UserError: as of `read_yaml`.
    """
    try:
        return _loaded(text)
    except yaml.YAMLError as error:
        raise UserError(f"{what} is not valid YAML: {' '.join(str(error).split())}") from error


def checked(load: Callable[[str], Any]) -> Callable[[str], Any]:
    """Another library's YAML loader, that refuses what `load_yaml` refuses, as a `yaml.YAMLError`.

    Args:
        load: what turns text into values.
    """

    def loader(text: str) -> Any:
        _loaded(text)
        return load(text)

    return loader


def _loaded(text: str) -> Any:
    try:
        _check_bounds(text)
        return _built(text)
    # A tag says what a value is, and PyYAML converts it unchecked: !!int x, !!bool maybe, !!timestamp now.
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
    """Counts values from the events of parsing, before any is built."""
    counts, names = [0], [""]  # of the collections that are open, the document's first
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
                raise RefusedYamlError(f"*{event.anchor} refers to itself (line {event.start_mark.line + 1})")
            count = anchored.get(event.anchor, 1)
        elif isinstance(event, yaml.ScalarEvent):
            count = 1
            if event.anchor:
                anchored[event.anchor] = count
        else:
            continue
        counts[-1] += count
        if counts[-1] > MAX_VALUES:
            raise RefusedYamlError(f"it stands for more than {MAX_VALUES:,} values, aliases included")


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Every mapping below a node, each once."""
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
            raise RefusedYamlError(f"the key '{name}' stands twice in one mapping, in lines {lines[name]} and {line}")
        lines[name] = line
