"""What model folders say of themselves: the base and corpus of sources, and what a model has seen of a locale."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from mu_lightning.results.results import Supervision
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.records import Record, read_record
from mu_lightning.utilities.resources import resource

DETAILS = "training_details.json"
MERGE_DETAILS = "merge_details.json"


class Configured(Record):
    """A record with the configuration of what it was."""

    config: dict[str, Any]


class _Source(Record):
    source: str | None = None


class _Data(Record):
    target: str | None = None


class _Trained(Record):
    locales: list[str] = Field(default_factory=list)


class _Merged(Record):
    sources: list[_Source] = Field(default_factory=list)
    target: str | None = None
    data: _Data = _Data()
    supervision: Supervision = "none"


def recorded_base(folders: Mapping[str, Path]) -> str:
    """The base that every source's training details name.

    Args:
        folders: source name -> its folder, as `fit` writes it.

    Raises:
        UserError: a source names none, two name different ones, or a folder that is named is not here.
    """
    base = _agreed(folders, "model", "base", "the base model that the sources started from", "--base")
    if (base.startswith((".", "/", "~")) or base.count("/") > 1) and not resource(base).is_dir():
        raise UserError(f"the sources started from {base}, which is not here: name the base model by --base")
    return base


def recorded_corpus(folders: Mapping[str, Path]) -> str:
    """The corpus that every source's training details name; raises UserError as `recorded_base` does."""
    return _agreed(folders, "data", "corpus", "the corpus whose texts the method learns from", "--corpus")


def recorded_supervision(model: str | Path, locale: str) -> Supervision:
    """What a model has looked at of a locale, as far as its folder tells.

    Args:
        model: a folder that `fit` or `merge` wrote; of any other nothing is known, and so ``none``.
        locale: the locale that it is scored on.

    Raises:
        UserError: what it says of itself cannot be read.
    """
    folder = resource(model)
    trained, merged = _Trained(), _Merged()
    if (folder / DETAILS).is_file():
        trained = read_record(folder / DETAILS, _Trained, "the record of a training")
    if (folder / MERGE_DETAILS).is_file():
        merged = read_record(folder / MERGE_DETAILS, _Merged, "the record of a merge")
    if locale in (*trained.locales, *(source.source for source in merged.sources)):
        return "target-labels"
    return merged.supervision if locale in (merged.target, merged.data.target) else "none"


def _agreed(folders: Mapping[str, Path], group: str, key: str, what: str, flag: str) -> str:
    found: dict[str, str] = {}
    for source, folder in folders.items():
        try:
            details = read_record(folder / DETAILS, Configured, "the record of a training")
            found[str(details.config[group][key])] = source
        except (UserError, KeyError, TypeError):
            raise UserError(f"{source} does not say {what} (it has no {DETAILS} of fit's): name it by {flag}") from None
    if len(found) > 1:
        named = ", ".join(f"{source}: {value}" for value, source in found.items())
        raise UserError(f"the sources disagree on {what} ({named}): name it by {flag}")
    return next(iter(found))
