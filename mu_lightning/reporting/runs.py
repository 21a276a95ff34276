"""Sections about runs: weights, merges over time, costs, missing results, reproduction."""

import csv
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mu_lightning.reporting import figures, maps
from mu_lightning.reporting.content import Figure, Section, Table, Value, points
from mu_lightning.reporting.evidence import Evidence
from mu_lightning.reporting.scores import ordered

_NAMES = {"uriel": "URIEL", "shuffled": "shuffled URIEL"}


def weights(evidence: Evidence) -> Section | None:
    """Section of source weights; None without weights."""
    found: dict[tuple[str, str, int, tuple[tuple[str, float], ...]], list[str]] = defaultdict(list)
    for label, cell in evidence.cells:
        if cell.weights:
            drawn = cell.preweight == "shuffled"
            key = (
                cell.target,
                cell.preweight or "given",
                (cell.seed or 0) if drawn else 0,
                tuple(cell.weights.items()),
            )
            found[key].append(label)
    if not found:
        return None
    rows, records = [], []
    for (target, preweight, seed, chosen), methods in sorted(found.items()):
        sorted_weights = sorted(chosen, key=lambda pair: -pair[1])
        records += [
            {
                "target": target,
                "weights": preweight,
                "seed": seed,
                "source": source,
                "weight": weight,
                "results": len(methods),
            }
            for source, weight in sorted_weights
        ]
        if preweight in ("equal", "shuffled"):
            continue
        text = ", ".join(f"{source} {weight:.3f}" for source, weight in sorted_weights)
        rows.append(
            [
                Value(target, target),
                Value(_NAMES.get(preweight, preweight)),
                Value(text),
                Value(str(len(methods)), len(methods)),
            ]
        )
    sources = sorted({source for *_, chosen in found for source, _ in chosen})
    panels = []
    for preweight in dict.fromkeys(preweight for _, preweight, *_ in found if preweight not in ("equal", "shuffled")):
        sets = [(target, chosen) for target, name, _, chosen in sorted(found) if name == preweight]
        values = np.full((len(sets), len(sources)), np.nan)
        names: list[str] = []
        for row, (target, chosen) in enumerate(sets):
            earlier = sum(name.split(" ")[0] == target for name in names)
            names.append(f"{target} ({earlier + 1})" if earlier else target)
            for source, weight in chosen:
                values[row, sources.index(source)] = weight
        panels.append((_NAMES.get(preweight, preweight), names, values))
    parts: list[Table | Figure] = []
    if panels:
        parts.append(
            Figure(
                "weights",
                "Weight of each source (columns) for each target (rows)",
                "One cell per target and source, darker for higher weights; see the table for values.",
                partial(maps.weights, panels, sources),
                wide=len(sources) > 14,
            )
        )
    note = "Equal and shuffled weights are in the CSV file only."
    header = ["target", "weights", "sources by weight", "results"]
    parts.append(Table("weights", "Weights of each merge and vote", header, rows, note, records))
    return Section("weights", "Weights", [], parts)


def timelines(evidence: Evidence) -> Section | None:
    """Section of merges during training; None without iterative runs."""
    scored: dict[Path, list[str]] = defaultdict(list)
    for cell in evidence.store.cells:
        scored[cell.folder].append(cell.target)
    runs = [
        run
        for path in sorted(evidence.store.folder.rglob("merges.csv"))
        for run in read_merges(path, scored[path.parent])
        if run.target in evidence.targets
    ]
    if not runs:
        return None
    rows = []
    for run in runs:
        kept = sum(run.committed)
        gain = float(np.mean(np.array(run.after) - np.array(run.before)))
        rows.append(
            [
                Value(run.name, run.name),
                Value(run.target, run.target),
                Value(f"{kept} of {len(run.index)}", kept),
                Value(f"{100 * run.before[0]:.1f}", run.before[0]),
                Value(f"{100 * run.after[-1]:.1f}", run.after[-1]),
                Value(points(gain), gain),
            ]
        )
    records = [
        {"run": run.name, "target": run.target, "merge": number, "before": before, "ensemble": together, "after": after}
        | {"committed": kept}
        for run in runs
        for number, before, together, after, kept in zip(
            run.index, run.before, run.ensemble, run.after, run.committed, strict=True
        )
    ]
    header = ["run", "target", "merges kept", "members before the first, %", "after the last, %", "mean gain, points"]
    return Section(
        "timelines",
        "Merging while training",
        ["Accuracy on the target's dev split around each merge."],
        [
            Figure(
                "timelines",
                "Accuracy around each merge",
                "One panel per run: members and ensemble before each merge, merged model after.",
                partial(maps.timelines, runs),
                "Vertical lines connect the mean of the members and the merged model.",
                wide=len(runs) > 1,
            ),
            Table("timelines", "Iterative runs", header, rows, "", records),
        ],
    )


def read_merges(path: Path, targets: Sequence[str]) -> list[maps.Merges]:
    """Reads ``merges.csv`` of a run, for each target; empty without merges.

    Args:
        path: the file.
        targets: evaluated locales of the run: the file does not name its first target.
    """
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        return []
    others = [name.split("/")[1] for name in rows[0] if name.count("/") == 2 and name.endswith("/accuracy_before")]
    first = next((target for target in targets if target not in others), None)
    prefixes = ({} if first is None else {first: "merge"}) | {target: f"merge/{target}" for target in others}
    return [_merges(path.parent.name, target, prefix, rows) for target, prefix in prefixes.items()]


def _merges(name: str, target: str, prefix: str, rows: Sequence[Mapping[str, str]]) -> maps.Merges:
    def column(key: str) -> list[float]:
        return [float(row.get(key) or "nan") for row in rows]

    before = f"{prefix}/before/"
    members = [key for key in rows[0] if key.startswith(before) and key != f"{before}ensemble"]
    return maps.Merges(
        name,
        target,
        [int(number) for number in column("merge/index")],
        column(f"{prefix}/accuracy_before"),
        column(f"{before}ensemble"),
        column(f"{prefix}/accuracy_after"),
        [committed > 0 for committed in column("merge/committed")],
        {key.removeprefix(before): column(key) for key in members},
    )


def costs(evidence: Evidence) -> Section:
    """Section of costs: time, memory and size of each method."""
    kinds = {label: method.kind for label, method in evidence.methods.items()}
    spent: dict[str, list[Any]] = defaultdict(list)
    for label, cell in evidence.cells:
        if any(value is not None for value in (cell.cost.seconds, cell.cost.peak_bytes, cell.cost.model_bytes)):
            spent[label].append(cell.cost)
    if not spent:
        return Section("costs", "Costs", ["The results have no costs."])
    labels = [method.label for method in ordered(evidence) if method.label in spent]
    rows, bars = [], []
    for label in labels:
        seconds = [cost.seconds for cost in spent[label] if cost.seconds is not None]
        peak = [cost.peak_bytes for cost in spent[label] if cost.peak_bytes is not None]
        size = [cost.model_bytes for cost in spent[label] if cost.model_bytes is not None]
        median = float(np.median(seconds)) if seconds else float("nan")
        memory = max(peak) / 2**30 if peak else float("nan")
        parameters = float(np.median(size)) / 2**20 if size else float("nan")
        rows.append(
            [
                Value(label, label),
                Value(str(len(spent[label])), len(spent[label])),
                _number(median),
                _number(float(sum(seconds)) if seconds else float("nan")),
                _number(memory),
                _number(parameters),
            ]
        )
        bars.append((label, kinds[label], median, memory, parameters))
    header = ["method", "results", "seconds per result", "seconds together", "peak memory, GiB", "parameters, MiB"]
    return Section(
        "costs",
        "Costs",
        [],
        [
            Figure(
                "costs",
                "Costs of methods",
                "Bar charts: time, peak memory and parameter size of each method; see the table for values.",
                partial(figures.costs, bars),
                wide=True,
            ),
            Table(
                "costs",
                "Costs of methods",
                header,
                rows,
                "Seconds: median time for creating and evaluating a result, without shared computations. "
                "Peak memory is of the whole process. Parameters: of all models needed for inference.",
            ),
        ],
    )


def gaps(evidence: Evidence) -> Section:
    """Section of missing, failed, corrupt and excluded results."""
    store = evidence.store

    def where(folder: Path) -> str:
        return folder.relative_to(store.folder).as_posix() if folder.is_relative_to(store.folder) else str(folder)

    parts: list[Table | Figure] = []
    failed = [
        [Value(where(one.folder)), Value(_what(one.cell)), Value(one.error)]
        for one in store.failed
        if _about(evidence, one.cell)
    ]
    if failed:
        parts.append(Table("failed", "Failed", ["folder", "what", "error"], failed))
    damaged = [[Value(where(one.folder)), Value(one.reason)] for one in store.damaged]
    if evidence.nxn is not None:
        rows = evidence.nxn.folder / "rows"
        damaged += [[Value(str(rows / name)), Value(reason)] for name, reason in evidence.nxn.damaged.items()]
    if damaged:
        parts.append(Table("damaged", "Corrupt results (not included)", ["folder", "problem"], damaged))
    if evidence.left_out:
        lines = [[Value(where(one.folder)), Value(one.reason)] for one in evidence.left_out]
        parts.append(Table("left_out", "Incomparable results (not included)", ["folder", "why"], lines))
    missing = _missing(evidence)
    if missing:
        parts.append(Table("missing", "Missing", ["method", "targets", "seeds"], missing))
    if evidence.nxn is not None and evidence.nxn.missing:
        lines = [[Value(", ".join(evidence.nxn.missing))]]
        parts.append(Table("nxn_missing", "Source models missing in the N-by-N matrix", ["locales"], lines))
    text = [] if parts else ["None: all methods have results for all targets, and all results are valid."]
    return Section("gaps", "Missing, failed and corrupt results", text, parts)


def reproduce(evidence: Evidence, command: str) -> Section:
    """Section on reproducing the report and its results."""
    versions: dict[str, set[str]] = defaultdict(set)
    recipes = []
    for label, cell in evidence.cells:
        for package, version in cell.versions.items():
            versions[package].add(version)
        recipes.append(
            {
                "method": label,
                "target": cell.target,
                "seed": cell.seed,
                "folder": cell.folder.relative_to(evidence.store.folder).as_posix(),
                "command": shlex.join(["mu-lightning", "reproduce", str(cell.folder)]) if cell.recipe else "",
            }
        )
    rows = [[Value(name, name), Value(", ".join(sorted(found)))] for name, found in sorted(versions.items())]
    mixed = sorted(name for name, found in versions.items() if len(found) > 1)
    text = [
        "The first command creates the report again, without recomputing results. Result folders record recipe, seed, "
        "versions and fingerprints of data and models (results.json)."
    ]
    if mixed:
        text.append(f"Note: the results were created with several versions of {', '.join(mixed)}.")
    parts: list[Table | Figure] = (
        [Table("versions", "Versions of the results", ["package", "version"], rows)] if rows else []
    )
    if recipes:
        parts.append(
            Table("recipes", "Commands of the results", ["method", "target", "command"], [], "", recipes, shown=False)
        )
    first = next((str(recipe["command"]) for recipe in recipes if recipe["command"]), "")
    if first:
        text.append("The second command recomputes one result and compares it.")
    return Section("reproduce", "How to reproduce", text, parts, code=[command, *([first] if first else [])])


def _missing(evidence: Evidence) -> list[list[Value]]:
    rows = []
    for method in ordered(evidence):
        own = evidence.targets_of(method.label)
        lacking = [target for target in evidence.targets if target not in own]
        seeds = {seed for target in own for seed in evidence.entries[method.label, target]}
        partial_seeds = [
            f"{target} lacks {', '.join(map(str, sorted(seeds - set(evidence.entries[method.label, target]))))}"
            for target in own
            if seeds - set(evidence.entries[method.label, target])
        ]
        if lacking or partial_seeds:
            # For methods on few targets, the existing results are more informative than the missing ones.
            few = len(own) < len(lacking)
            text = f"all but {', '.join(own)}" if few else ", ".join(lacking) or "–"
            rows.append([Value(method.label), Value(text), Value("; ".join(partial_seeds) or "–")])
    return rows


def _about(evidence: Evidence, cell: Mapping[str, Any]) -> bool:
    """Whether a failure belongs to the targets of the report; true if unknown."""
    target = (cell.get("problem") or {}).get("target")
    filtered = {cell.target for cell in evidence.store.cells} - set(evidence.targets)
    return target is None or target not in filtered


def _what(cell: Mapping[str, Any]) -> str:
    if "label" not in cell:
        return ""
    return f"{cell['problem']['target']}, {cell['label']}, seed {cell['seed']}"


def _number(value: float) -> Value:
    return Value("–" if np.isnan(value) else f"{value:,.0f}" if value >= 100 else f"{value:#.3g}", value)
