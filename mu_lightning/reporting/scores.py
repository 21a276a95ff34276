"""Section of scores: all methods on all targets."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from mu_lightning.reporting import figures
from mu_lightning.reporting.comparisons import LEVEL, Comparisons
from mu_lightning.reporting.content import Figure, Section, Table, Value, interval, percent
from mu_lightning.reporting.evidence import Evidence, Method
from mu_lightning.reporting.formats import best_of
from mu_lightning.utilities.tables import counted

USES = {
    "none": "none",
    "source-dev": "none (sources' dev)",
    "target-unlabelled": "none (unlabeled text)",
    "target-dev-labels": "dev",
    "target-labels": "train",
}


def ordered(evidence: Evidence) -> list[Method]:
    """Methods by mean accuracy; those with fewer targets come last."""
    return sorted(
        evidence.methods.values(),
        key=lambda one: (-len(evidence.targets_of(one.label)), -mean(evidence, one.label), one.label),
    )


def mean(evidence: Evidence, label: str) -> float:
    """Mean accuracy of a method over its targets."""
    return float(np.mean([evidence.accuracy(label, target) for target in evidence.targets_of(label)]))


def calibration_error(evidence: Evidence, label: str, targets: Sequence[str]) -> float:
    """Mean expected calibration error of a method over targets and seeds, 0 to 1; NaN if no result has it."""
    cells = [entry.cell for target in targets for entry in evidence.entries[label, target].values()]
    found = [cell.calibration_error for cell in cells if cell is not None and cell.calibration_error is not None]
    return float(np.mean(found)) if found else float("nan")


def section(evidence: Evidence, comparisons: Comparisons) -> Section:
    """Section with scores by method and target, and figures of means and differences."""
    parts: list[Table | Figure] = [
        Figure(
            "accuracy",
            "Mean accuracy of each method over its targets",
            "One dot per method with its 95 % interval, best on top; see the table for values.",
            partial(figures.accuracies, _points(evidence, comparisons)),
            "95 % bootstrap intervals over utterances (and seeds, if there are several). Hollow: uses target labels.",
            wide=True,
        ),
        _table(evidence, comparisons),
    ]
    reference = comparisons.reference
    if reference is not None and len(evidence.targets) > 1:
        labels = [method.label for method in ordered(evidence) if method.label in comparisons.against(reference)]
        values = np.full((len(labels), len(evidence.targets)), np.nan)
        for row, label in enumerate(labels):
            for column, target in enumerate(evidence.targets):
                found = comparisons.on_target.get((label, target, reference))
                values[row, column] = np.nan if found is None else found.difference
        parts.append(
            Figure(
                "differences_by_target",
                f"Difference to {reference}, by target, in points",
                f"One cell per method and target: blue above {reference}, red below.",
                partial(figures.difference_map, values, labels, evidence.targets),
                wide=True,
            )
        )
    return Section("scores", "Methods by targets", parts=parts)


def _coverage(evidence: Evidence, label: str) -> str:
    own, every = len(evidence.targets_of(label)), len(evidence.targets)
    return "" if own == every else f" (on {own} of {every} targets)"


def _points(evidence: Evidence, comparisons: Comparisons) -> list[figures.Point]:
    return [
        figures.Point(
            method.label + _coverage(evidence, method.label),
            mean(evidence, method.label),
            comparisons.interval(method.label, evidence.targets_of(method.label)),
            method.kind,
            method.zero_shot,
        )
        for method in ordered(evidence)
    ]


def _table(evidence: Evidence, comparisons: Comparisons) -> Table:
    methods = ordered(evidence)
    competing = [method.competes for method in methods]
    columns: list[list[float]] = [
        [evidence.accuracy(method.label, target) if method.competes else float("nan") for method in methods]
        for target in evidence.targets
    ]
    complete = [
        mean(evidence, method.label)
        if competes and len(evidence.targets_of(method.label)) == len(evidence.targets)
        else float("nan")
        for method, competes in zip(methods, competing, strict=True)
    ]
    best_mean, best = best_of(complete), [best_of(column) for column in columns]
    reference = comparisons.reference
    errors = {
        method.label: calibration_error(evidence, method.label, evidence.targets_of(method.label)) for method in methods
    }
    with_errors = any(np.isfinite(value) for value in errors.values())
    rows, records = [], []
    for place, method in enumerate(methods):
        own = evidence.targets_of(method.label)
        seeds = {seed for target in own for seed in evidence.entries[method.label, target]}
        average = mean(evidence, method.label)
        ends = comparisons.interval(method.label, own)
        of = "" if len(own) == len(evidence.targets) else f"on {len(own)} of {len(evidence.targets)}"
        row = [
            Value(method.label, method.label, counted(len(seeds), "seed") if len(seeds) > 1 else ""),
            Value(USES[method.supervision], method.supervision),
            Value(percent(average), average, ", ".join(filter(None, (interval(ends), of))), place in best_mean),
        ]
        if with_errors:
            error = errors[method.label]
            row.append(Value(percent(error) if np.isfinite(error) else "–", error))
        for column, target in enumerate(evidence.targets):
            value = evidence.accuracy(method.label, target)
            if target not in own:
                row.append(Value("–", float("nan")))
                continue
            ends = comparisons.interval(method.label, [target])
            against = comparisons.on_target.get((method.label, target, reference or ""))
            clear = against is not None and against.adjusted < LEVEL
            mark = "" if not clear or against is None else "above" if against.difference > 0 else "below"
            row.append(Value(percent(value), value, interval(ends), place in best[column], mark))  # type: ignore[arg-type]
            entries = evidence.entries[method.label, target]
            records.append(
                {
                    "method": method.label,
                    "type": method.kind,
                    "target": target,
                    "accuracy": value,
                    "low": ends[0] if ends else None,
                    "high": ends[1] if ends else None,
                    "macro_f1": float(np.mean([entry.macro_f1 for entry in entries.values()])),
                    "calibration_error": calibration_error(evidence, method.label, [target]),
                    "seeds": len(entries),
                    "supervision": method.supervision,
                    "difference": None if against is None else against.difference,
                    "compared_with": reference,
                    "p_adjusted": None if against is None else against.adjusted,
                }
            )
        rows.append(row)
    note = "Accuracy in %, with 95 % intervals. Bold: best method without target labels, excluding upper bounds."
    if with_errors:
        note += " ECE: expected calibration error in %, mean over targets and seeds."
    if reference is not None:
        note += (
            f" ▲ ▼: significantly above or below {reference} on that target (McNemar's exact test, or the bootstrap "
            "where there are several seeds or a mean of models; p < 0.05 after Holm over the methods)."
        )
    header = ["method", "target labels used", "mean", *(["ECE"] if with_errors else []), *evidence.targets]
    return Table("scores", "Methods by targets", header, rows, note, records)


def best_label(evidence: Evidence) -> str | None:
    """Label of the best method by mean accuracy, among those with results for all targets."""
    found = [
        method.label
        for method in ordered(evidence)
        if method.competes and len(evidence.targets_of(method.label)) == len(evidence.targets)
    ]
    return found[0] if found else None
