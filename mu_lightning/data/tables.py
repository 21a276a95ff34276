"""Corpora from tables: labels, splits and ids are resolved and validated after reading all rows."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from mu_lightning.data.corpus import SPLITS, Rows, Split
from mu_lightning.data.splits import ALL_SHARES, DEV_SHARE, draw_splits, split_named
from mu_lightning.languages import not_among
from mu_lightning.settings import CorpusSettings
from mu_lightning.utilities.errors import UserError, unknown

DEFAULT_COLUMNS: dict[str, tuple[str, ...]] = {
    "text": ("text", "utt", "utterance", "sentence"),
    "label": ("label", "intent"),
    "split": ("split", "partition"),
    "id": ("id",),
    "language": ("language", "lang", "locale"),
}


class TableRow(NamedTuple):
    """A row of a table; `where` is its file and line, for errors. Missing values are None."""

    where: str
    language: str
    split: Split | None
    id: str | None
    text: str
    label: str | None


@dataclass(frozen=True)
class Columns:
    """Resolves columns by name.

    Attributes:
        named: field (``text``, ``label``, ``split``, ``id``, ``language``) -> column given by the user.
    """

    named: Mapping[str, str]

    @classmethod
    def of(cls, settings: CorpusSettings) -> "Columns":
        """Creates columns from settings."""
        given = {what: getattr(settings, f"{what}_column") for what in DEFAULT_COLUMNS}
        return cls({what: name for what, name in given.items() if name is not None})

    def find(self, columns: Iterable[str]) -> dict[str, str]:
        """Returns the column of each field; default names are case-insensitive."""
        columns = tuple(columns)
        folded = {column.strip().lower(): column for column in columns}
        found = {what: name for what, name in self.named.items() if name in columns}
        for what, names in DEFAULT_COLUMNS.items():
            if what not in self.named:
                column = next((folded[name] for name in names if name in folded), None)
                if column is not None:
                    found[what] = column
        return found

    def text_of(self, values: Mapping[str, Any], found: Mapping[str, str], where: str) -> str:
        """Returns the text of a row; raises UserError if it is missing."""
        if "text" not in found:
            wanted = self.named.get("text")
            looked = f"'{wanted}'" if wanted else f"any of {', '.join(DEFAULT_COLUMNS['text'])}"
            raise UserError(
                f"{where}: no column of texts: looked for {looked}, found {', '.join(values)}: name it with "
                "--text-column"
            )
        text = plain_value(values[found["text"]], where, found["text"])
        if text is None:
            raise UserError(f"{where}: the text (column '{found['text']}') is empty: fill it in or remove the row")
        return text


def plain_value(value: Any, where: str, column: str) -> str | None:
    """Converts a cell to stripped text; integers have no decimal point; None for an empty cell.

    >>> plain_value(3.0, "", ""), plain_value(" a ", "", ""), plain_value("", "", "")
    ('3', 'a', None)

    Raises:
        UserError: the cell is a list or a mapping.
    """
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float):
        raise UserError(f"{where}: column '{column}' holds {type(value).__name__}, expected a text or a number")
    return str(value).strip() or None


def split_value(value: str, where: str, column: str) -> Split:
    """Returns the split of a cell; raises UserError for other values."""
    split = split_named(value)
    if split is None:
        raise UserError(f"{where}: column '{column}' names the split '{value}', expected one of {', '.join(SPLITS)}")
    return split


class TableCorpus:
    """A corpus of rows from tables; unlabeled rows have the label -1.

    Args:
        name: registered name of the corpus.
        read: reads all rows.
        seed: random seed for dev and test splits of data without splits.
    """

    def __init__(self, name: str, read: Callable[[], Iterable[TableRow]], seed: int = 0) -> None:
        self.name = name
        self._read_rows = read
        self._seed = seed
        self._adopted: tuple[str, ...] | None = None
        self._notes: list[str] = []
        self._made: dict[tuple[str, Split], Rows] = {}

    @property
    def locales(self) -> tuple[str, ...]:
        """Languages with rows, sorted."""
        return tuple(sorted(self._rows))

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, such as random splits."""
        _ = self._splits
        return tuple(self._notes)

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """Sorted labels of the train rows of all languages (numerically if possible), or the adopted labels.

        Raises:
            UserError: no labels, a single label, or a label without train rows.
        """
        if self._adopted is not None:
            self._check_labels(self._adopted, "is none of the model's labels")
            return self._adopted
        every = [row.label for rows in self._rows.values() for row in rows if row.label is not None]
        if not every:
            raise UserError(f"no row of the corpus {self.name} has a label: give the column with --label-column")
        train = [
            row.label
            for tag, rows in self._rows.items()
            for row, split in zip(rows, self._splits[tag], strict=True)
            if row.label is not None and split == "train"
        ]
        names = _sorted_labels(train or every)
        self._check_labels(names, "is in no train row of any language: add some, or correct it")
        if len(names) < 2:
            raise UserError(
                f"every row of the corpus {self.name} has the label '{names[0]}': at least two labels are needed"
            )
        return names

    def adopt_labels(self, names: Sequence[str]) -> None:
        """Uses the labels of a model, before rows are read: a sample may lack some."""
        self._adopted = tuple(names)
        self._made.clear()
        self.__dict__.pop("label_names", None)

    def rows(self, locale: str, split: Split) -> Rows:
        """Returns the rows of a split; raises UserError for an unknown language or split."""
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if locale not in self._rows:
            raise not_among(f"the corpus {self.name}", locale, self.locales)
        if (locale, split) not in self._made:
            places = [place for place, one in enumerate(self._splits[locale]) if one == split]
            rows = [self._rows[locale][place] for place in places]
            unlabeled = [row for row in rows if row.label is None]
            if unlabeled and len(unlabeled) < len(rows):
                raise UserError(
                    f"{unlabeled[0].where}: no label, but other {split} rows of {locale} have one: label it, remove it "
                    "or move rows without labels to another split"
                )
            index = {} if len(unlabeled) == len(rows) else {name: at for at, name in enumerate(self.label_names)}
            self._made[locale, split] = Rows(
                tuple(row.id or str(place) for row, place in zip(rows, places, strict=True)),
                tuple(row.text for row in rows),
                tuple(-1 if row.label is None else index[row.label] for row in rows),
            )
        return self._made[locale, split]

    @cached_property
    def _rows(self) -> dict[str, list[TableRow]]:
        found: dict[str, list[TableRow]] = defaultdict(list)
        for row in self._read_rows():
            found[row.language].append(row)
        if not found:
            raise UserError(f"the corpus {self.name} has no rows")
        for rows in found.values():
            _check_ids(rows)
        return dict(found)

    @cached_property
    def _splits(self) -> dict[str, list[Split]]:
        """Returns the split of each row by language."""
        named: dict[str, list[Split | None]] = {tag: [row.split for row in rows] for tag, rows in self._rows.items()}
        without = [tag for tag, splits in named.items() if None in splits]
        for tag in without:
            if any(named[tag]):
                where = self._rows[tag][named[tag].index(None)].where
                raise UserError(f"{where}: no split, but other rows of {tag} have one")
        known = {
            row.id: row.split
            for tag, rows in self._rows.items()
            for row in rows
            if row.id is not None and row.split is not None and tag not in without
        }
        self._draw(without, named, ALL_SHARES, known)
        lacking = [
            tag
            for tag, splits in named.items()
            if tag not in without and "dev" not in splits and "train" in splits and self._rows[tag][0].label is not None
        ]
        self._draw(lacking, named, DEV_SHARE, {})
        return {tag: [one for one in splits if one is not None] for tag, splits in named.items()}

    def _draw(
        self,
        tags: Sequence[str],
        named: dict[str, list[Split | None]],
        shares: Mapping[Split, float],
        known: Mapping[Any, Split],
    ) -> None:
        """Assigns random splits in place; if splits are given, dev rows are sampled from train rows."""
        if not tags:
            return
        order = sorted(tags, key=lambda tag: (all(row.label is None for row in self._rows[tag]), tag))
        places = [(tag, place) for tag in order for place, split in enumerate(named[tag]) if split in (None, "train")]
        first_with: dict[tuple[str, str], int] = {}
        units: list[Hashable] = []
        for tag, place in places:
            row = self._rows[tag][place]
            # Without ids, equal texts must be in the same split; row numbers are parallel across tables.
            units.append(row.id if row.id is not None else (first_with.setdefault((tag, row.text), place)))
        strata = [self._rows[tag][place].label for tag, place in places]
        with_ids = self._rows[order[0]][0].id is not None
        if with_ids:
            drawn = draw_splits(units, strata, shares, self._seed, known)
        else:
            drawn = []
            for tag in order:
                own = [at for at, (one, _) in enumerate(places) if one == tag]
                drawn += draw_splits([units[at] for at in own], [strata[at] for at in own], shares, self._seed)
        for (tag, place), split in zip(places, drawn, strict=True):
            named[tag][place] = split
        how = "splits drawn" if "test" in shares else "dev rows drawn from train"
        parts = [f"{1 - sum(shares.values()):.0%} train", *(f"{share:.0%} {split}" for split, share in shares.items())]
        together = ", rows of one id together" if with_ids else ""
        self._notes.append(
            f"{how} for {', '.join(tags)}: {', '.join(parts)}, stratified by label{together} (seed {self._seed})"
        )

    def _check_labels(self, names: Sequence[str], problem: str) -> None:
        known = set(names)
        for rows in self._rows.values():
            for row in rows:
                if row.label is not None and row.label not in known:
                    raise UserError(f"{row.where}: the label '{row.label}' {problem}")


def _check_ids(rows: Sequence[TableRow]) -> None:
    """Raises UserError for repeated ids in a split, or if only some rows have ids."""
    seen: dict[tuple[Split | None, str], str] = {}
    if sum(row.id is None for row in rows) in (0, len(rows)):
        for row in rows:
            if row.id is not None and seen.setdefault((row.split, row.id), row.where) is not row.where:
                raise UserError(
                    f"{row.where}: the id '{row.id}' is there already, in {seen[row.split, row.id]}: ids must differ "
                    "within a language"
                )
        return
    lacking = next(row for row in rows if row.id is None)
    raise UserError(f"{lacking.where}: no id, but other rows of {lacking.language} have one")


def _sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Returns sorted unique labels, numerically if all are integers.

    >>> _sorted_labels(["10", "9", "9"]), _sorted_labels(["b", "10"])
    (('9', '10'), ('10', 'b'))
    """
    names = Counter(labels)
    if all(name.lstrip("-").isdecimal() and name.isascii() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
