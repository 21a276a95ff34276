"""What a result is of: a problem, an approach with all its parameters, and a seed, as plain typed data.

An identity is written once, beside the scores, by whatever made them; it is hashed and compared, and named by
`mu_lightning.results.naming.names`. Nothing is read out of a name.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class Identity:
    """One way to classify one locale, with one seed.

    Attributes:
        problem: ``target``, ``split``, ``base``, ``sources`` and ``data`` (corpus, limits), as plain values.
        approach: ``approach``, its name in the registry, and every parameter of it, as plain values.
        seed: of its trainings and of what it draws.
        label: what the approach is called where nothing else has to be told apart; no part of the identity.
    """

    problem: Mapping[str, Any]
    approach: Mapping[str, Any]
    seed: int = 0
    label: str = field(default="", compare=False)

    @property
    def target(self) -> str:
        """The locale that is scored."""
        return str(self.problem["target"])

    @property
    def kind(self) -> str:
        """The approach's name in the registry."""
        return str(self.approach["approach"])

    def get(self, name: str) -> Any:
        """A parameter of the approach; None where it has no such parameter."""
        return self.approach.get(name)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that differ between any two identities."""
        return digest_of([self.problem, self.approach, self.seed])

    @cached_property
    def flat(self) -> dict[str, Any]:
        """Every parameter of problem and approach, nested ones by dotted names; without target, sources and seed."""
        problem = {key: value for key, value in self.problem.items() if key not in ("target", "sources")}
        return dict(_flat({"problem": problem})) | dict(_flat(self.approach))

    @property
    def sources(self) -> tuple[str, ...]:
        """The source locales in order; empty where the approach has none."""
        return tuple(self.problem.get("sources") or ())

    def plain(self) -> dict[str, Any]:
        """Itself for JSON."""
        return {
            "problem": dict(self.problem),
            "approach": dict(self.approach),
            "seed": self.seed,
            "label": self.label,
            "digest": self.digest,
        }


def read_identity(record: Any) -> Identity:
    """An identity from what `Identity.plain` wrote.

    Raises:
        UserError: it is no identity, or its digest is not that of its content.
    """
    try:
        found = Identity(dict(record["problem"]), dict(record["approach"]), int(record["seed"]), str(record["label"]))
        _ = found.target, found.kind
        recorded = record["digest"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"the result does not say what it is of ({type(error).__name__}: {error})") from error
    if recorded != found.digest:
        raise UserError(f"the result's identity was changed: its digest is {found.digest}, {recorded} is recorded")
    return found


def plain(value: Any) -> Any:
    """A settings object, a path or a collection as values that JSON has; mappings in the order of their keys."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    return value


def digest_of(values: Any) -> str:
    """16 hexadecimal digits of plain values."""
    text = json.dumps(plain(values), sort_keys=True, ensure_ascii=False, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        if isinstance(one, Mapping) and one:
            yield from _flat(one, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", one
