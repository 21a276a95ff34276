"""Sections with pairwise tests: differences to baselines, win rates, and ranks over targets."""

from functools import partial

import numpy as np

from mu_lightning.reporting import figures
from mu_lightning.reporting.comparisons import Comparison, Comparisons
from mu_lightning.reporting.content import (
    Figure,
    Section,
    Table,
    Value,
    equals,
    interval,
    percent,
    points,
    probability,
    signed,
)
from mu_lightning.reporting.evidence import Evidence
from mu_lightning.reporting.scores import ordered
from mu_lightning.utilities.tables import counted


def differences(evidence: Evidence, comparisons: Comparisons) -> Section:
    """Differences of all methods to all baselines."""
    text = [
        "Columns: mean difference in percentage points with 95 % interval (bootstrap over utterances, "
        "the same ones in all languages), wins, ties and losses over targets, and the matched rank-biserial "
        "correlation (−1 to 1). Then Wilcoxon's signed-rank test over targets, corrected by Holm over the methods.",
        "The best of the sources used and the best of all sources are selected on the test rows: they are "
        "upper bounds for selecting a single model.",
    ]
    if not comparisons.all:
        return Section("differences", "Differences to the baselines", ["There are no baselines."])
    labels = [method.label for method in ordered(evidence)]
    return Section(
        "differences",
        "Differences to the baselines",
        text,
        [
            Figure(
                "differences",
                "Mean difference to the baselines, in points",
                "One panel per baseline, with a dot and a 95 % interval for each method.",
                partial(figures.differences, _panels(comparisons, labels)),
                "Filled: significant over targets after Holm (or over utterances, for a single target).",
                wide=len(comparisons.baselines) > 2,
            ),
            _differences(comparisons, labels),
            _tests(comparisons, labels),
            _one_target(comparisons),
        ],
    )


def wins(evidence: Evidence, comparisons: Comparisons) -> Section:
    """Win rates against baselines and between methods."""
    labels = [method.label for method in ordered(evidence)]
    rows = []
    for label in labels:
        cells = [Value(label, label)]
        for baseline in comparisons.baselines:
            found = comparisons.against(baseline).get(label)
            cells.append(Value("–", float("nan")) if found is None else _win_rate(found))
        if any(cell.text != "–" for cell in cells[1:]):
            rows.append(cells)
    note = "Share of targets in % on which the method is better (ties count half), and wins / ties / losses."
    parts: list[Table | Figure] = []
    if rows:
        parts.append(
            Table("win_rates", "Win rates against the baselines", ["method", *comparisons.baselines], rows, note)
        )
    labels = [label for label in labels if 2 * len(evidence.targets_of(label)) >= len(evidence.targets)]
    if len(labels) > 1 and len(evidence.targets) > 1:
        rates = comparisons.win_rates(labels)
        parts.append(
            Figure(
                "win_rates",
                "Share of targets in % on which the row's method beats the column's",
                "A colored cell for each pair of methods, blue where the row's method wins more often.",
                partial(figures.win_rates, rates, labels),
                "Ties count half. Methods with results for fewer than half of the targets are not shown.",
                wide=len(labels) > 8,
            )
        )
        parts.append(_pairs(rates, labels))
    return Section("wins", "Win rates", parts=parts)


def ranks(comparisons: Comparisons) -> Section:
    """Friedman's and Nemenyi's tests, and the critical difference diagram."""
    ranking = comparisons.ranking
    title = "Ranks over targets"
    if ranking is None:
        return Section("ranks", title, ["Ranks need at least three methods on two common targets."])
    pairs = len(ranking.methods) * (len(ranking.methods) - 1) // 2
    apart = int((ranking.pairwise[np.triu_indices(len(ranking.methods), 1)] < 0.05).sum())
    text = [
        f"Kendall's W is {ranking.kendalls_w:.2f} (0: targets disagree on the ranking, 1: they agree). "
        f"Friedman's test that all {len(ranking.methods)} methods are equal over {ranking.targets} targets gives "
        f"{equals(ranking.p_value)}. By Nemenyi's test mean ranks differ at the 5 % level when they are more than "
        f"{ranking.critical_difference:.2f} apart: {apart} of {counted(pairs, 'pair')}.",
        "Only methods without target labels are ranked, without upper bounds, on common targets.",
    ]
    rows = [
        [Value(label, label), Value(f"{rank:.2f}", rank, best=place == 0)]
        for place, (label, rank) in enumerate(ranking.mean_ranks.items())
    ]
    records = [
        {
            "method": one,
            "other": other,
            "mean_rank": ranking.mean_ranks[one],
            "p_nemenyi": ranking.pairwise[row, column],
        }
        for row, one in enumerate(ranking.methods)
        for column, other in enumerate(ranking.methods)
        if row != column
    ]
    return Section(
        "ranks",
        title,
        text,
        [
            Figure(
                "critical_difference",
                "Critical-difference diagram",
                "Methods by mean rank, best on the left; bars connect methods without significant difference.",
                partial(figures.critical_difference, ranking),
                "Mean rank over targets (1 is best). Bars connect methods that do not differ (Nemenyi's test).",
                wide=True,
            ),
            Table("ranks", "Mean ranks", ["method", "mean rank"], rows, "1 is the best.", records),
        ],
    )


def _panels(comparisons: Comparisons, labels: list[str]) -> list[tuple[str, list[figures.Point]]]:
    kinds = {label: method.kind for label, method in comparisons.evidence.methods.items()}
    panels = []
    for baseline in comparisons.baselines:
        found = comparisons.against(baseline)
        dots = [
            figures.Point(
                label,
                found[label].ranks.mean,
                None if one is None else (one.low, one.high),
                kinds[label],
                found[label].significant,
            )
            for label in labels
            if label in found
            for one in [found[label].bootstrap]
        ]
        panels.append((baseline, dots))
    return panels


def _differences(comparisons: Comparisons, labels: list[str]) -> Table:
    rows = []
    for label in labels:
        cells = [Value(label, label)]
        for baseline in comparisons.baselines:
            found = comparisons.against(baseline).get(label)
            if found is None:
                cells.append(Value("–", float("nan")))
                continue
            ends = None if found.bootstrap is None else (found.bootstrap.low, found.bootstrap.high)
            mark = "" if not found.significant else "above" if found.ranks.mean > 0 else "below"
            cells.append(Value(points(found.ranks.mean), found.ranks.mean, interval(ends, points), mark=mark))  # type: ignore[arg-type]
        if any(cell.text != "–" for cell in cells[1:]):
            rows.append(cells)
    note = (
        "Mean over common targets in percentage points, with 95 % interval. ▲ ▼: significant (p < 0.05 over "
        "targets after Holm; with a single target an interval without 0)."
    )
    return Table("differences", "Difference to each baseline", ["method", *comparisons.baselines], rows, note)


def _tests(comparisons: Comparisons, labels: list[str]) -> Table:
    header = [
        "method",
        "baseline",
        "targets",
        "difference",
        "wins / ties / losses",
        "rank-biserial",
        "Wilcoxon p",
        "after Holm",
    ]
    order = {label: place for place, label in enumerate(labels)}
    found = sorted(comparisons.all, key=lambda one: (comparisons.baselines.index(one.baseline), order[one.method]))
    rows, records = [], []
    for one in found:
        ranks = one.ranks
        several = len(one.targets) > 1
        ends = None if one.bootstrap is None else (one.bootstrap.low, one.bootstrap.high)
        p_value = ranks.p_value if several else float("nan")
        rows.append(
            [
                Value(one.method, one.method),
                Value(one.baseline, one.baseline),
                Value(str(len(one.targets)), len(one.targets)),
                Value(points(ranks.mean), ranks.mean, interval(ends, points)),
                Value(f"{ranks.wins} / {ranks.ties} / {ranks.losses}", ranks.wins),
                Value(signed(ranks.rank_biserial), ranks.rank_biserial),
                Value(probability(p_value), p_value),
                Value(probability(one.adjusted), one.adjusted),
            ]
        )
        records.append(
            {
                "method": one.method,
                "baseline": one.baseline,
                "targets": len(one.targets),
                "difference": ranks.mean,
                "low": None if one.bootstrap is None else one.bootstrap.low,
                "high": None if one.bootstrap is None else one.bootstrap.high,
                "median_difference": ranks.median,
                "wins": ranks.wins,
                "ties": ranks.ties,
                "losses": ranks.losses,
                "rank_biserial": ranks.rank_biserial,
                "p_bootstrap": None if one.bootstrap is None else one.bootstrap.p_value,
                "p_wilcoxon": p_value,
                "p_holm": one.adjusted,
            }
        )
    return Table("tests", "Every method against every baseline, with its tests", header, rows, "", records)


def _one_target(comparisons: Comparisons) -> Table:
    records = [
        {
            "method": one.method,
            "baseline": one.baseline,
            "target": one.target,
            "difference": one.difference,
            "low": None if one.bootstrap is None else one.bootstrap.low,
            "high": None if one.bootstrap is None else one.bootstrap.high,
            "p_bootstrap": None if one.bootstrap is None else one.bootstrap.p_value,
            "only_method_right": None if one.mcnemar is None else one.mcnemar.only_first,
            "only_baseline_right": None if one.mcnemar is None else one.mcnemar.only_second,
            "odds_ratio": None if one.mcnemar is None else one.mcnemar.odds_ratio,
            "cohens_g": None if one.mcnemar is None else one.mcnemar.cohens_g,
            "p_mcnemar": None if one.mcnemar is None else one.mcnemar.p_value,
            "p_holm": one.adjusted,
        }
        for one in comparisons.one_target
    ]
    title = "Every method against every baseline on each target: bootstrap, McNemar, odds ratio, Cohen's g"
    return Table("one_target", title, ["method", "baseline", "target"], [], "", records, shown=False)


def _win_rate(found: Comparison) -> Value:
    ranks = found.ranks
    rate = (ranks.wins + ranks.ties / 2) / len(found.targets)
    mark = "" if not found.significant else "above" if ranks.mean > 0 else "below"
    return Value(percent(rate).removesuffix(".0"), rate, f"{ranks.wins} / {ranks.ties} / {ranks.losses}", mark=mark)  # type: ignore[arg-type]


def _pairs(rates: np.ndarray, labels: list[str]) -> Table:
    records = [
        {"method": one, "other": other, "win_rate": float(rates[row, column])}
        for row, one in enumerate(labels)
        for column, other in enumerate(labels)
        if row != column
    ]
    return Table(
        "win_rates_pairs", "Win rates of all pairs of methods", ["method", "other"], [], "", records, shown=False
    )
