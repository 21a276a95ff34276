"""MASSIVE: 60 intents of a voice assistant in 52 locales, the same utterances in each (arXiv:2204.08582, CC BY 4.0).

It is read from an unpacked release (JSON lines, optionally gzipped) or from the Parquet files of the Hugging Face hub.
Both yield the same rows, labels and fingerprints.
"""

from collections.abc import Iterable
from pathlib import Path

from mu_lightning.data.corpus import SPLITS, Rows, Split
from mu_lightning.data.massive_sources import FIELDS, HUB_ID, REVISION, Hub, Record, Release
from mu_lightning.languages import not_among
from mu_lightning.locales import LOCALES
from mu_lightning.utilities.errors import UserError, unknown


class MassiveCorpus:
    """MASSIVE from a release or from the hub.

    Labels are the sorted intents of the data, which must be the same in all locales.
    """

    name = "massive"
    notes: tuple[str, ...] = ()

    def __init__(self, data_dir: Path | None = None, hub_id: str = HUB_ID, revision: str = REVISION) -> None:
        """Locates the files of a release, without reading them.

        Args:
            data_dir: unpacked release: the folder with ``<locale>.jsonl[.gz]``, or one or two levels above.
            hub_id: dataset on the hub, or a folder with the same layout, if `data_dir` is not given.
            revision: branch, tag or commit of the dataset.

        Raises:
            UserError: `data_dir` is not a release.
        """
        self._source = Hub(hub_id, revision) if data_dir is None else Release(data_dir)
        self._read: dict[str, dict[Split, Rows]] = {}
        self._label_names: tuple[str, ...] | None = None

    @property
    def locales(self) -> tuple[str, ...]:
        """Available locales, sorted."""
        return self._source.locales

    @property
    def label_names(self) -> tuple[str, ...]:
        """Sorted intents; reads a locale if necessary."""
        if self._label_names is None:
            self.rows("en-US" if "en-US" in self.locales else self.locales[0], "train")
        assert self._label_names is not None
        return self._label_names

    def rows(self, locale: str, split: Split) -> Rows:
        """Returns the rows of a split, in the order of the release.

        Raises:
            UserError: unknown locale or split; unreachable hub; an invalid file; intents that differ from other
                locales.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if locale not in LOCALES:
            raise not_among("the corpus massive", locale, self.locales)
        if locale not in self._read:
            self._read[locale] = self._checked(locale)
        return self._read[locale][split]

    def _checked(self, locale: str) -> dict[Split, Rows]:
        found = _by_split(locale, self._source.records(locale))
        names = tuple(sorted({intent for rows in found.values() for _, _, intent in rows}))
        if self._label_names not in (None, names):
            known = set(self._label_names or ())
            raise UserError(
                f"{locale} has other intents than {', '.join(self._read)}: it has {sorted(set(names) - known)} besides "
                f"and lacks {sorted(known - set(names))}"
            )
        self._label_names = names
        index = {name: place for place, name in enumerate(names)}
        return {
            split: Rows(
                ids=tuple(name for name, _, _ in rows),
                texts=tuple(text for _, text, _ in rows),
                labels=tuple(index[intent] for _, _, intent in rows),
            )
            for split, rows in found.items()
        }


def _by_split(locale: str, records: Iterable[Record]) -> dict[Split, list[tuple[str, str, str]]]:
    """Groups (id, utterance, intent) by split; raises UserError for invalid records."""
    found: dict[Split, list[tuple[str, str, str]]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    for where, values in records:
        for field, value in zip(FIELDS, values, strict=True):
            if not isinstance(value, str) or not value.strip():
                raise UserError(f"{where}: the key '{field}' is missing, empty or not a text")
        name, of_locale, partition, intent, text = values
        if of_locale != locale:
            raise UserError(f"{where}: the row is of locale '{of_locale}', not {locale}")
        if partition not in found:
            raise UserError(f"{where}: partition '{partition}' is none of {', '.join(SPLITS)}")
        if name in seen:
            raise UserError(f"{where}: the id '{name}' is there twice")
        seen.add(name)
        found[partition].append((name, text, intent))
    empty = [split for split, rows in found.items() if not rows]
    if empty:
        raise UserError(f"MASSIVE's {locale} ends after {len(seen)} rows and has none for {', '.join(empty)}")
    return found
