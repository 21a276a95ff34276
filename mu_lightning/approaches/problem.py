"""What is to be solved: a target, the corpus and its limits, the base, and the sources that there are."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mu_lightning.data.corpus import SPLITS, Corpus, Split
from mu_lightning.data.registry import open_corpus
from mu_lightning.results.identity import plain
from mu_lightning.settings import EMBEDDED_BASE, DataSettings
from mu_lightning.utilities.errors import unknown

# Where rows lie and how they are read in an evaluation, which no result depends on.
_PLACES = ("data_dir", "eval_batch_size")


@dataclass(frozen=True)
class Problem:
    """What is to be solved: a good classifier for a target.

    Attributes:
        target: the locale to classify.
        data: the corpus and its limits.
        base: the encoder that every model starts from: a folder or a hub id.
        sources: the locales that may be sources; None: every locale that has a model or train rows.
        split: the rows that are scored.
    """

    target: str
    data: DataSettings = field(default_factory=DataSettings)
    base: str = str(EMBEDDED_BASE)
    sources: tuple[str, ...] | None = None
    split: Split = "test"

    def open(self) -> Corpus:
        """The corpus; raises UserError for a corpus or split that does not exist."""
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        return open_corpus(self.data)

    def plain(self, sources: Collection[str] = ()) -> dict[str, Any]:
        """Itself as plain values, without places on this machine.

        Args:
            sources: the sources that an approach takes of those that there are.
        """
        data = {key: value for key, value in plain(self.data).items() if key not in _PLACES}
        return {
            "target": self.target,
            "split": self.split,
            "base": Path(self.base).name,
            "sources": list(sources),
            "data": data,
        }
