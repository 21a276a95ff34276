"""What a result came from: versions and data fingerprints."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any

from mu_lightning import __version__
from mu_lightning.data.corpus import Split
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_json_object

if TYPE_CHECKING:  # reading results needs neither torch nor Lightning
    from mu_lightning.data.module import IntentDataModule

PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "numpy", "Babel", "lang2vec")


def versions() -> dict[str, str]:
    """Versions of the project, of Python and of the packages that decide results."""
    return {"mu-lightning": __version__, "python": platform.python_version()} | {
        name: version(name) for name in PACKAGES
    }


def data_fingerprints(data: "IntentDataModule", locales: Sequence[str], splits: Sequence[Split]) -> dict[str, Any]:
    """Locale -> split -> SHA-256 of the rows as they were used."""
    return {locale: {split: data.rows(locale, split).fingerprint for split in splits} for locale in locales}


def read_manifest(path: Path, fields: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """What a folder of results says that it was made of.

    Args:
        path: the manifest.
        fields: the type of each field that must be there; ``fingerprints`` must hold ``rows`` and ``models``.

    Raises:
        UserError: it cannot be read, or a field is missing or of another type.
    """
    found = read_json_object(path)
    wrong = [name for name, kind in fields.items() if name not in found or not isinstance(found[name], kind)]
    prints = found.get("fingerprints")
    if not isinstance(prints, dict) or not all(isinstance(prints.get(name), dict) for name in ("rows", "models")):
        wrong.append("fingerprints")
    if wrong:
        raise UserError(
            f"{path} does not say what {path.parent} was made of (its {', '.join(wrong)} is missing or damaged): name "
            "another --output-dir"
        )
    return found
