"""What results are called in tables and figures: their approach, and whatever else tells them apart."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mu_lightning.results.identity import Identity

WEIGHTS = {"uriel": "URIEL", "equal": "equal", "shuffled": "shuffled", "manual": "manual"}


def names(identities: Sequence[Identity]) -> list[str]:
    """One name for each identity: equal for those that differ in target, seed or chosen sources alone, else distinct.

    A name is the approach's label and, where others share the label, every parameter in which they differ. Sources
    tell two apart only where one target has both with one seed.
    """
    groups: dict[str, list[Identity]] = defaultdict(list)
    for identity in identities:
        groups[identity.label].append(identity)
    telling = {label: _telling(group) for label, group in groups.items()}
    crowded = {label for label, group in groups.items() if _crowded(group, telling[label])}
    found = []
    for identity in identities:
        parts = [identity.label, *(_shown(key, identity.flat.get(key)) for key in telling[identity.label])]
        if identity.label in crowded:
            parts.append(f"sources {' '.join(identity.sources) or 'none'}")
        found.append(", ".join(parts))
    return found


def name_of(identity: Identity, among: Sequence[Identity]) -> str:
    """The name of one identity beside others."""
    return names([identity, *among])[0]


def weights_label(preweight: str | None) -> str:
    """Where weights come from, as tables call it; empty where there are none."""
    return "" if preweight is None else WEIGHTS.get(preweight, preweight)


def _telling(group: Sequence[Identity]) -> list[str]:
    """The parameters in which identities of one label differ."""
    keys = {key for identity in group for key in identity.flat}
    return sorted(key for key in keys if len({repr(identity.flat.get(key)) for identity in group}) > 1)


def _crowded(group: Sequence[Identity], telling: Sequence[str]) -> bool:
    """Whether some target has results of one name and seed that differ in their sources."""
    seen: dict[Any, set[tuple[str, ...]]] = defaultdict(set)
    for identity in group:
        told = tuple(repr(identity.flat.get(key)) for key in telling)
        seen[identity.target, identity.seed, told].add(identity.sources)
    return any(len(sources) > 1 for sources in seen.values())


def _shown(key: str, value: Any) -> str:
    """A parameter and its value, by the last words of its name.

    >>> _shown("training.trainer.max_epochs", 3), _shown("merge.tolerance", None)
    ('max epochs 3', 'no tolerance')
    """
    name = key.rpartition(".")[2].replace("_", " ")
    if value is None or value is False:
        return f"no {name}"
    if value is True:
        return name
    if isinstance(value, Mapping):
        value = " ".join(f"{inner} {one}" for inner, one in value.items()) or "none"
    elif isinstance(value, list | tuple):
        value = " ".join(map(str, value)) or "none"
    return f"{name} {value}"
