"""What the report calls each method: what it is, and whatever else tells it from the others beside it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from mu_lightning.evaluation.statistics import baselines
from mu_lightning.reporting.evidence import JOINT, UNIFORM
from mu_lightning.results.store import Cell

_BASELINES = {
    "native": baselines.NATIVE,
    "best_source": baselines.BEST_SOURCE,
    "best_zero_shot": baselines.BEST_ZERO_SHOT,
    "mean_zero_shot": baselines.MEAN_ZERO_SHOT,
    "joint": JOINT,
    "uniform_average": UNIFORM,
}
_TELLING = ("num_languages", "base")  # what tells methods apart where it differs within a results folder


def labels(cells: Sequence[Cell]) -> list[str]:
    """What the cells' methods are called: what they are, and whatever else tells them apart within these cells."""
    plain = [plain_label(cell) for cell in cells]
    known: dict[str, dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
    for cell, label in zip(cells, plain, strict=True):
        for name in _TELLING:
            if getattr(cell, name) is not None and cell.experiment_type != "baseline":
                known[label][name].add(getattr(cell, name))
    named = []
    for cell, label in zip(cells, plain, strict=True):
        more = [_telling(cell, name) for name in _TELLING if len(known[label][name]) > 1]
        named.append(", ".join([label, *filter(None, more)]))
    return _told_apart(cells, named)


def plain_label(cell: Cell) -> str:
    """What a cell is, without what tells it from others."""
    weights = {"uriel": "URIEL", "shuffled": "shuffled URIEL"}.get(cell.preweight or "", cell.preweight)
    if cell.experiment_type == "baseline":
        return _BASELINES.get(cell.method or "", cell.method or cell.name)
    if cell.experiment_type == "merge":
        return ", ".join(filter(None, (cell.method, weights)))
    if cell.experiment_type == "ensemble":
        return ", ".join(filter(None, (f"vote {cell.vote}", weights)))
    if cell.experiment_type == "iterative":
        return ", ".join(filter(None, (f"iterative {cell.method}", weights)))
    return cell.name


def _telling(cell: Cell, name: str) -> str:
    value = getattr(cell, name)
    if value is None:
        return ""
    return f"{value} source{'s' if value > 1 else ''}" if name == "num_languages" else str(value)


def _told_apart(cells: Sequence[Cell], named: Sequence[str]) -> list[str]:
    """Adds what recipes differ in (a feature set, a method's parameter) where two methods would share a name."""
    groups: dict[tuple[str, str, int | None], list[dict[str, Any]]] = defaultdict(list)
    for cell, label in zip(cells, named, strict=True):
        if cell.recipe:
            groups[label, cell.target, cell.seed].append(_choices(cell))
    telling: dict[str, set[str]] = defaultdict(set)
    for (label, _, _), group in groups.items():
        for key in {key for choices in group for key in choices}:
            if len({repr(choices.get(key)) for choices in group}) > 1:
                telling[label].add(key)
    result = []
    for cell, label in zip(cells, named, strict=True):
        choices = _choices(cell)
        more = [f"{key.replace('_', ' ')} {choices[key]}" for key in sorted(telling[label]) if key in choices]
        result.append(", ".join([label, *more]))
    return result


def _choices(cell: Cell) -> dict[str, Any]:
    """What a result's recipe chose beside what the cell says itself: typology's settings, the method's parameters."""
    recipe = cell.recipe
    parts = [recipe.get("typology"), (recipe.get("task") or {}).get("parameters")]
    return {str(key): value for part in parts if isinstance(part, Mapping) for key, value in part.items()}
