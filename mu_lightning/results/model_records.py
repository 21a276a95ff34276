"""What model folders say of themselves: the base and corpus of sources, and what a model has seen of a locale."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mu_lightning.results.results import Supervision
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.resources import resource

DETAILS = "training_details.json"
MERGE_DETAILS = "merge_details.json"


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
    """
    trained, merged = (_read(resource(model) / name) for name in (DETAILS, MERGE_DETAILS))
    learned = [*trained.get("locales", ()), *(source.get("source") for source in merged.get("sources", ()))]
    if locale in learned:
        return "target-labels"
    if locale in (merged.get("target"), merged.get("data", {}).get("target")):
        found: Supervision = merged.get("supervision", "none")
        return found
    return "none"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _agreed(folders: Mapping[str, Path], group: str, key: str, what: str, flag: str) -> str:
    found: dict[str, str] = {}
    for source, folder in folders.items():
        try:
            content = json.loads((folder / DETAILS).read_text(encoding="utf-8"))
            found[str(content["config"][group][key])] = source
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{source} does not say {what} (it has no {DETAILS} of fit's): name it by {flag}") from None
    if len(found) > 1:
        named = ", ".join(f"{source}: {value}" for value, source in found.items())
        raise UserError(f"the sources disagree on {what} ({named}): name it by {flag}")
    return next(iter(found))
