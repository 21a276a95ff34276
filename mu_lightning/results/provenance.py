"""What a result came from: versions and data fingerprints."""

import platform
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from mu_lightning import __version__
from mu_lightning.data.corpus import Split

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
