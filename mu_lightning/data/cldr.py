"""The embedded corpus: phrases from CLDR in MASSIVE's 52 locales, without downloads.

A row is a phrase, and its label is the category of the phrase. Source: CLDR (https://cldr.unicode.org), as packaged
with Babel.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from mu_lightning.data.cldr_phrases import LABELS, concepts, phrases, rank
from mu_lightning.data.corpus import SPLITS, Rows, Split
from mu_lightning.languages import not_among
from mu_lightning.locales import LOCALES, locale
from mu_lightning.utilities.errors import unknown


class CldrCorpus:
    """Phrases of 52 locales, labeled by category.

    Row ids are ``label/concept/variant`` and parallel across locales. All variants (counts, lengths) of a concept (a
    unit, a currency, a day) are in one split, the same in every locale: about 70 / 10 / 20 % of the concepts of each
    label. Texts are unique within a locale, ignoring case; texts with two labels are excluded.
    """

    name = "cldr"
    label_names = LABELS
    locales = tuple(LOCALES)
    notes: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._read: dict[str, dict[Split, Rows]] = {}

    def rows(self, locale: str, split: Split) -> Rows:
        """Returns the shuffled rows of a split; raises UserError for an unknown locale or split."""
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if locale not in LOCALES:
            raise not_among("the corpus cldr", locale, self.locales)
        if locale not in self._read:
            self._read[locale] = _read(locale)
        return self._read[locale][split]


def _read(tag: str) -> dict[Split, Rows]:
    entry = locale(tag)
    labels_of_text: dict[str, set[int]] = defaultdict(set)
    found: list[tuple[str, str, int, Split]] = []
    for index, label in enumerate(LABELS):
        for concept, split in _split(concepts(label)):
            for variant, text in phrases(entry.cldr, entry.script, label, concept):
                folded = _fold(text)
                if index not in labels_of_text[folded]:
                    labels_of_text[folded].add(index)
                    found.append((f"{label}/{concept}/{variant}", text, index, split))
    kept = sorted((row for row in found if len(labels_of_text[_fold(row[1])]) == 1), key=lambda row: rank(row[0]))
    return {split: _rows(row for row in kept if row[3] == split) for split in SPLITS}


def _split(ranked: tuple[str, ...]) -> list[tuple[str, Split]]:
    """Assigns the concepts of a label to splits by rank: test first, then dev, then train."""
    test = max(1, round(0.2 * len(ranked)))
    dev = max(1, round(0.1 * len(ranked)))
    return [
        (concept, "test" if place < test else "dev" if place < test + dev else "train")
        for place, concept in enumerate(ranked)
    ]


def _fold(text: str) -> str:
    """Normalizes a text for duplicate detection."""
    return unicodedata.normalize("NFKC", text).casefold()


def _rows(found: Iterable[tuple[str, str, int, Split]]) -> Rows:
    rows = list(found)
    return Rows(tuple(row[0] for row in rows), tuple(row[1] for row in rows), tuple(row[2] for row in rows))
