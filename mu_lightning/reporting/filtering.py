"""Filters for the results of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

from mu_lightning.results.matrix import NByN
from mu_lightning.results.store import Store, StoredCell
from mu_lightning.utilities.errors import UserError, unknown

# Names in earlier versions: an approach, and for two of them the weight source.
OLD_TYPES: dict[str, tuple[str, str | None]] = {
    "similarity": ("one_shot", "uriel"),
    "average": ("one_shot", "equal"),
    "merge": ("one_shot", None),
    "source": ("single", None),
    "baseline": ("joint", None),
}


@dataclass(frozen=True)
class Filters:
    """Filters for results; None for no filter.

    Attributes:
        locales: targets.
        experiment_types: names of approaches, ``model``, or names in earlier versions.
        corpus: corpus, for folders with several.
        split: split, for folders with several.
    """

    locales: Sequence[str] | None = None
    experiment_types: Sequence[str] | None = None
    corpus: str | None = None
    split: str | None = None


def filtered(store: Store, filters: Filters) -> list[StoredCell]:
    """Filters results; raises UserError for unknown values or an empty result."""
    cells = list(store.cells)
    for name in ("corpus", "split"):
        wanted = getattr(filters, name)
        if wanted is not None:
            known = {getattr(cell, name) for cell in cells} - {None}
            if known and wanted not in known:
                raise unknown(f"{name} of the results", wanted, known)
            cells = [cell for cell in cells if getattr(cell, name) in (wanted, None)]
    types = {cell.kind for cell in cells}
    for wanted in filters.experiment_types or ():
        if cells and wanted not in types | set(OLD_TYPES):
            raise unknown(f"approach of the results in {store.folder}", wanted, sorted(types | set(OLD_TYPES)))
    chosen = [cell for cell in cells if _of_type(cell, filters.experiment_types)]
    if filters.locales is not None:
        chosen = [cell for cell in chosen if cell.target in filters.locales]
    if cells and not chosen:
        raise UserError(
            f"no results match the filters: none of the {len(cells)} results in {store.folder}: there are the targets "
            f"{', '.join(sorted({cell.target for cell in cells}))} and the approaches {', '.join(sorted(types))}"
        )
    return chosen


def _of_type(cell: StoredCell, wanted: Sequence[str] | None) -> bool:
    # Single source models are baselines.
    if wanted is None or cell.kind in (*wanted, "single"):
        return True
    return any(
        cell.kind == kind and preweight in (None, cell.preweight)
        for kind, preweight in (OLD_TYPES[name] for name in wanted if name in OLD_TYPES)
    )


def scored_targets(cells: Sequence[StoredCell], nxn: NByN | None, filters: Filters) -> list[str]:
    """Targets of the report in alphabetical order; raises UserError for unknown targets."""
    scored = {cell.target for cell in cells if cell.kind != "single" or cell.identity.get("source") == "nearest"}
    if not scored and nxn is not None:
        scored = set(nxn.locales) & set(filters.locales or nxn.locales)
    for wanted in filters.locales or ():
        if wanted not in scored:
            raise unknown("target of the results", wanted, scored)
    return sorted(scored)


def only_one(what: str, given: Sequence[str | None]) -> str | None:
    """Returns the unique value, None for none; raises UserError for several values."""
    found = sorted({one for one in given if one is not None})
    if len(found) > 1:
        raise UserError(
            f"the results are of several kinds of {what} ({', '.join(found)}), which do not compare: "
            f"choose one with --{what}, and a matrix of the same"
        )
    return found[0] if found else None
