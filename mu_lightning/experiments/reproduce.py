"""Recomputes stored results from their recipes and says whether the predictions are the same."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml

from mu_lightning.approaches.evaluation_context import Bench, Scoring, prepare
from mu_lightning.approaches.from_text.learning import Learning
from mu_lightning.approaches.tasks import Outcome, PanelTask, RowTask, Task
from mu_lightning.evaluation.metrics import Scores
from mu_lightning.experiments.grid import Grid, Planned
from mu_lightning.experiments.sweep import outcomes, with_learning
from mu_lightning.experiments.sweep_folder import Sweep, own_part
from mu_lightning.experiments.workers import Workers
from mu_lightning.results.matrix import ROWS
from mu_lightning.results.provenance import versions
from mu_lightning.results.store import RESULTS, Cell, is_matrix, read_cells, read_store
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_json_object

RUNS = ("fit", "validate", "test")
RunVerb = Callable[[list[str]], int]


@dataclass(frozen=True)
class Verdict:
    """Whether a stored result came out again.

    Attributes:
        folder: the result's folder.
        agrees: whether every prediction is the same.
        text: what was found, in a line.
    """

    folder: Path
    agrees: bool
    text: str


@dataclass(frozen=True)
class _Stored:
    """A result's folder: its cells and how they came about."""

    folder: Path
    cells: list[Cell]
    record: Mapping[str, Any]

    @property
    def recipe(self) -> Mapping[str, Any]:
        recipe: Mapping[str, Any] = self.record.get("recipe") or {}
        return recipe


def reproduce(
    folder: Path,
    workers: Workers,
    *,
    models_dir: Path | None = None,
    data_dir: Path | None = None,
    run_verb: RunVerb | None = None,
) -> Iterator[Verdict]:
    """Recomputes the result in `folder`, or every result below it.

    Args:
        folder: a result's folder, a results folder or an N-by-N folder.
        workers: where to compute.
        models_dir: where the models are, if not where they were; by the names of their folders.
        data_dir: where the corpus is, if not where it was.
        run_verb: runs the program with the arguments given, for results of `fit`, `test` and `validate`.

    Raises:
        UserError: there is no result; one says not how it came about; its models or data are not there any more.
    """
    groups: dict[str, list[_Stored]] = defaultdict(list)
    runs = []
    for stored in _stored(folder):
        if "task" in stored.recipe:
            groups[_shared(stored.recipe)].append(stored)
        elif stored.record.get("verb") in RUNS and run_verb is not None:
            runs.append(stored)
        else:
            raise UserError(f"{stored.folder} does not say how it came about: it has no recipe")
    for group in groups.values():
        yield from _recompute(group, workers, models_dir, data_dir)
    for stored in runs:
        assert run_verb is not None
        yield from _run_again(stored, run_verb, data_dir)


def _stored(folder: Path) -> list[_Stored]:
    if (folder / RESULTS).is_file():
        places = [folder]
    elif is_matrix(folder):
        places = sorted(path.parent for path in folder.glob(f"{ROWS}/[!.]*/{RESULTS}"))
    else:
        store = read_store(folder)
        places = list(dict.fromkeys(cell.folder for cell in store.cells))
        places += [path.parent for nxn in store.matrices for path in sorted(nxn.glob(f"{ROWS}/[!.]*/{RESULTS}"))]
    if not places:
        raise UserError(f"no result in {folder} that could be recomputed")
    found = []
    for place in places:
        try:
            cells = read_cells(place)
        except UserError as error:
            raise UserError(f"{place} is damaged: {error}") from error
        found.append(_Stored(place, cells, read_json_object(place / RESULTS)))
    return found


def _shared(recipe: Mapping[str, Any]) -> str:
    """What results must have in common to be recomputed on one bench."""
    return json.dumps([recipe["scoring"], recipe.get("base"), recipe.get("learning")], sort_keys=True)


def _recompute(
    group: Sequence[_Stored], workers: Workers, models_dir: Path | None, data_dir: Path | None
) -> Iterator[Verdict]:
    first = group[0].recipe
    values = dict(first["scoring"])
    where = data_dir or values.pop("data_dir")
    scoring = Scoring(**{**values, "data_dir": None if where is None else Path(where)})
    models = {name: _place(path, models_dir) for stored in group for name, path in stored.recipe["models"].items()}
    locales = list(dict.fromkeys(cell.target for stored in group for cell in stored.cells))
    base = first.get("base")
    bench = prepare(scoring, models, locales, base=None if base is None else _place(base, None))
    cells = {
        id(stored): _planned(stored.recipe["task"]["cell"])
        for stored in group
        if stored.recipe["task"]["kind"] == "cell"
    }
    owners = {id(cells[id(stored)]): stored for stored in group if id(stored) in cells}
    learning = Learning(**(first.get("learning") or {}))
    bench = with_learning(learning, bench, scoring, list(cells.values()), models)
    with TemporaryDirectory(prefix="mu-lightning-") as scratch:
        grid = Grid(targets=locales)
        sweep = Sweep(grid, scoring, models, base, learning, Path(scratch), list(cells.values()), bench)
        for cell, outcome in outcomes(sweep, workers, sweep.cells):
            stored = owners[id(cell)]
            found = {} if outcome.error else {0: outcome.value.scores[own_part(cell, outcome.value)]}
            yield from _verdicts(stored, outcome, bench, found)
    tasks = [(_task(stored.recipe["task"]), stored) for stored in group if id(stored) not in cells]
    owners = {id(task): stored for task, stored in tasks}
    for task, outcome in workers.outcomes(bench, [task for task, _ in tasks]):
        stored = owners[id(task)]
        found = {} if outcome.error else {cell.place: outcome.value.scores[_part(task, cell)] for cell in stored.cells}
        yield from _verdicts(stored, outcome, bench, found)


def _planned(values: Mapping[str, Any]) -> Planned:
    """A sweep's cell from its recipe."""
    return Planned(**{**values, "sources": tuple(values["sources"])})


def _task(task: Mapping[str, Any]) -> Task:
    if task["kind"] == "row":
        return RowTask(task["source"], tuple(task["locales"]))
    if task["kind"] != "panel":
        raise UserError(f"the recipe's task is of a kind that this version does not know: {task['kind']}")
    votes = {name: (vote, weights) for name, (vote, weights) in task["votes"].items()}
    return PanelTask(task["locale"], tuple(task["members"]), votes, task["with_members"])


def _part(task: Task, cell: Cell) -> str:
    """What a stored result is called among a task's scores."""
    if isinstance(task, RowTask):
        return cell.target
    return cell.sources[0] if cell.experiment_type == "source" else cell.name


def _verdicts(stored: _Stored, outcome: Outcome, bench: Bench | None, found: Mapping[int, Scores]) -> Iterator[Verdict]:
    """Compares each of a folder's results with what was found for it."""
    if outcome.error:
        yield Verdict(stored.folder, False, f"cannot be recomputed: {outcome.error}")
        return
    changed = _changed(stored.record, bench)
    for cell in stored.cells:
        before, now = cell.predictions(), found[cell.place]
        if before.ids.tolist() != now.ids.tolist():
            yield Verdict(stored.folder, False, f"{cell.name} on {cell.target}: other rows are scored now{changed}")
            continue
        different = int(np.sum(before.predictions != now.predictions))
        rows = len(before.ids)
        if different:
            text = (
                f"{different} of {rows} predictions differ, accuracy {cell.accuracy:.4f} then and {now.accuracy:.4f} "
                f"now{changed}"
            )
        else:
            text = f"all {rows} predictions are the same, accuracy {now.accuracy:.4f}"
        yield Verdict(stored.folder, not different, f"{cell.name} on {cell.target}: {text}")


def _changed(record: Mapping[str, Any], bench: Bench | None) -> str:
    """What is not as it was when the result was made."""
    parts = []
    for kind, before in (record.get("fingerprints") or {}).items() if bench is not None else ():
        now = bench.fingerprints.get(kind, {}) if bench is not None else {}
        other = [name for name in before if name in now and before[name] != now[name]]
        parts += [f"the {kind} of {', '.join(other)} have changed"] if other else []
    here = versions()
    other = [
        f"{name} {was} -> {here.get(name)}" for name, was in record.get("versions", {}).items() if here.get(name) != was
    ]
    parts += [f"versions: {', '.join(other)}"] if other else []
    return f" ({'; '.join(parts)})" if parts else ""


def _place(path: str, models_dir: Path | None) -> Path | str:
    """Where a model is: where it was, or under its folder's name in `models_dir`."""
    if models_dir is not None:
        return models_dir / Path(path).name
    return Path(path) if Path(path).is_dir() else path


def _run_again(stored: _Stored, run_verb: RunVerb, data_dir: Path | None) -> Iterator[Verdict]:
    """Runs a training or a test again from its configuration, in a folder of its own."""
    verb, config = stored.record["verb"], dict(stored.record["config"])
    with TemporaryDirectory(prefix="mu-lightning-") as scratch:
        again = Path(scratch) / "run"
        config |= {"output_dir": str(again)}
        if "models_dir" in config:
            config |= {"models_dir": str(Path(scratch) / "models"), "resume": False}
        config["data"] = dict(config["data"]) | ({} if data_dir is None else {"data_dir": str(data_dir)})
        path = Path(scratch) / "config.yaml"
        path.write_text(
            yaml.safe_dump({key: value for key, value in config.items() if key not in ("config", "ckpt_path")})
        )
        status = run_verb([verb, "--config", str(path)])
        if status or not (again / RESULTS).is_file():
            yield Verdict(stored.folder, False, f"cannot be recomputed: '{verb}' ended with status {status}")
            return
        now = read_cells(again)
        scores = {}
        for cell in stored.cells:
            same = next((one for one in now if (one.name, one.target) == (cell.name, cell.target)), None)
            if same is None:
                yield Verdict(stored.folder, False, f"{cell.name} on {cell.target}: '{verb}' does not give it any more")
                return
            arrays = same.predictions()
            scores[cell.place] = Scores(same.target, *arrays, same.accuracy, same.macro_f1, same.interval)
        yield from _verdicts(stored, Outcome(), None, scores)
