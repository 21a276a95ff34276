"""Sections on transfer: the N-by-N matrix, and its correlation with typology."""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from mu_lightning.evaluation.statistics.transfer import Explained, best_sources, explained, precision_at_k
from mu_lightning.locales import LOCALES
from mu_lightning.reporting import maps
from mu_lightning.reporting.content import (
    Figure,
    Section,
    Table,
    Value,
    interval,
    percent,
    probability,
    signed,
)
from mu_lightning.reporting.evidence import Evidence
from mu_lightning.reporting.formats import best_of
from mu_lightning.reporting.similarity_figure import clustered_order
from mu_lightning.results.matrix import NByN
from mu_lightning.settings import DEFAULT_FEATURE_SET
from mu_lightning.typology.features import FEATURE_SETS, locales_with_data
from mu_lightning.typology.similarity import from_features
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.tables import counted


@dataclass(frozen=True, eq=False)
class Typology:
    """Correlation of feature sets with an N-by-N matrix.

    Attributes:
        explained: feature set -> correlation with transfer.
        similarity: feature set -> similarities, (sources, locales), NaN for missing values.
        without: feature set -> reason for exclusion.
    """

    explained: dict[str, Explained]
    similarity: dict[str, np.ndarray]
    without: dict[str, str]

    @property
    def best(self) -> str | None:
        """Feature set with the highest mean correlation."""
        known = {name: found.mean for name, found in self.explained.items() if found.by_target}
        return max(known, key=lambda name: known[name]) if known else None


def explain(nxn: NByN) -> Typology:
    """Correlates every feature set's similarities with the matrix."""
    results, similarity, without = {}, {}, {}
    for name in FEATURE_SETS:
        try:
            similarity[name] = _similarity(name, nxn)
        except UserError as error:
            without[name] = str(error)
            continue
        results[name] = explained(similarity[name], nxn.accuracy, nxn.sources, nxn.locales)
    return Typology(results, similarity, without)


def matrix_section(nxn: NByN) -> Section:
    """Section with the matrix as a heat map and as a table."""
    order = _order(nxn)
    rows = [nxn.sources.index(tag) for tag in order if tag in nxn.sources]
    columns = [nxn.locales.index(tag) for tag in order if tag in nxn.locales]
    accuracy = nxn.accuracy[np.ix_(rows, columns)]
    sources, locales = [nxn.sources[row] for row in rows], [nxn.locales[column] for column in columns]
    others = np.where(np.array(sources)[:, None] == np.array(locales)[None, :], np.nan, accuracy)
    best = {(row, column) for column in range(len(locales)) for row in best_of(list(others[:, column]))}
    lines = [
        [
            Value(source, source),
            *(
                Value(percent(accuracy[row, column]), float(accuracy[row, column]), best=(row, column) in best)
                for column in range(len(locales))
            ),
        ]
        for row, source in enumerate(sources)
    ]
    text = [
        f"Every source model ({counted(len(sources), 'row')}) on every locale ({counted(len(locales), 'column')}). "
        f"Languages are ordered by clustering of {DEFAULT_FEATURE_SET}."
    ]
    native = [accuracy[sources.index(tag), locales.index(tag)] for tag in sources if tag in locales]
    if native and np.isfinite(others).any():
        zero_shot = others[np.isfinite(others)]
        highest = [np.nanmax(column) for column in others.T if np.isfinite(column).any()]
        text.append(
            f"Mean accuracy on the model's own language: {percent(float(np.nanmean(native)))}\u00a0%, on "
            f"others {percent(float(zero_shot.mean()))}\u00a0%; the best source of another language gives "
            f"{percent(float(np.mean(highest)))}\u00a0% on average."
        )
    return Section(
        "nxn",
        "All sources on all locales",
        text,
        [
            Figure(
                "nxn",
                "Accuracy of source models (rows) on locales (columns), ordered by typology",
                "One cell per source model and locale; see the table for values.",
                partial(maps.matrix_map, accuracy, sources, locales, best),
                "Boxes: best source of another language for each column.",
                wide=len(locales) > 10,
            ),
            Table(
                "nxn", "The matrix, in %", ["trained on", *locales], lines, "Bold: best other language for each column."
            ),
        ],
    )


def typology_section(evidence: Evidence, nxn: NByN, typology: Typology) -> Section:
    """Section on similarity and transfer, and precision of typological source selection."""
    above = nxn.accuracy - _column_means(nxn)
    panels = []
    for name, found in typology.explained.items():
        known = _apart(nxn) & np.isfinite(typology.similarity[name]) & np.isfinite(above)
        panels.append((name, found.mean, typology.similarity[name][known], above[known]))
    size = _usual_size(evidence, len(nxn.sources))
    text = [
        "For each locale Spearman's rank correlation between its similarity to the other languages and how well their "
        "models do on it; the mean over locales with a 95 % interval (locales resampled). The p-value, one-sided, is "
        "from exchanging the languages' names in the similarities (Mantel's test), corrected by Holm over the feature "
        "sets: pairs of languages are not independent.",
        f"Precision at {size}: of the {size} languages that are nearest by a feature set, the share that are truly "
        f"among the {size} best sources. Gap: how much lower the mean accuracy of the chosen is than that of the best.",
    ]
    text += [f"Excluded: {name}, as {reason}." for name, reason in typology.without.items()]
    parts: list[Table | Figure] = []
    if panels:
        parts.append(
            Figure(
                "similarity_transfer",
                "Similarity and transfer by feature set",
                "Scatter plots with one dot per source-target pair; see the table for correlations.",
                partial(maps.similarity_transfer, panels),
                "Each dot is one source-target pair. y: accuracy relative to the mean source of the target.",
                wide=True,
            )
        )
        parts += [_explained_table(nxn, typology, size), _by_target(typology)]
    chosen = _chosen(evidence)
    if chosen:
        parts.append(_precision_table(evidence, chosen))
    return Section("typology", "Typology and transfer", text, parts)


def _explained_table(nxn: NByN, typology: Typology, size: int) -> Table:
    from mu_lightning.evaluation.statistics.ranks import holm

    names = list(typology.explained)
    adjusted = holm([typology.explained[name].p_value for name in names])
    best = best_of([typology.explained[name].mean for name in names])
    rows, records = [], []
    for place, name in enumerate(names):
        found = typology.explained[name]
        precision, gap = _nearest(nxn, typology.similarity[name], size)
        total = len(found.by_target)
        rows.append(
            [
                Value(name, name),
                Value(signed(found.mean), found.mean, interval(found.interval, signed), place in best),
                Value(f"{found.positive} of {total}", found.positive),
                Value(probability(adjusted[place]), adjusted[place]),
                Value(percent(precision), precision),
                Value(percent(gap), gap),
            ]
        )
        records.append(
            {
                "feature_set": name,
                "mean_rho": found.mean,
                "low": found.interval[0],
                "high": found.interval[1],
                "positive": found.positive,
                "targets": total,
                "p_permutation": found.p_value,
                "p_holm": adjusted[place],
                "k": size,
                "precision_at_k": precision,
                "gap": gap,
            }
        )
    note = f"A random selection has a precision of {percent(size / max(1, len(nxn.sources) - 1))}\u00a0%."
    header = ["feature set", "mean rho", "positive", "p after Holm", f"precision at {size}, %", "gap, points"]
    return Table("typology", "Rank correlation of similarity with transfer", header, rows, note, records)


def _by_target(typology: Typology) -> Table:
    names = list(typology.explained)
    targets = sorted({target for found in typology.explained.values() for target in found.by_target})
    rows = []
    for target in targets:
        values = [typology.explained[name].by_target.get(target, float("nan")) for name in names]
        best = best_of(values)
        cells = [Value(signed(value), value, best=place in best) for place, value in enumerate(values)]
        rows.append([Value(target, target), *cells])
    note = "Bold: feature set with the highest correlation for the target."
    return Table("typology_by_target", "Correlations by target", ["target", *names], rows, note)


def _precision_table(evidence: Evidence, chosen: dict[tuple[str, tuple[str, ...]], int]) -> Table:
    rows = []
    for (target, sources), results in sorted(chosen.items()):
        others = {name: value for name, value in evidence.accuracies[target].items() if name != target}
        if not set(sources) <= set(others):
            continue
        precision = precision_at_k(sources, others)
        best = sorted(best_sources(others, len(sources)), key=lambda name: -others[name])
        rows.append(
            [
                Value(target, target),
                Value(", ".join(sources), " ".join(sources)),
                Value(", ".join(best), " ".join(best)),
                Value(percent(precision), precision),
                Value(str(results), results),
            ]
        )
    header = ["target", "sources used", "best sources", "precision, %", "results"]
    return Table("precision", "Selected sources and best sources", header, rows)


def _chosen(evidence: Evidence) -> dict[tuple[str, tuple[str, ...]], int]:
    """Number of results by (target, sources)."""
    used: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for _, cell in evidence.cells:
        if cell.kind in ("one_shot", "ensemble", "iterative") and cell.sources:
            used[cell.target, tuple(cell.sources)] += 1
    return dict(used)


def _usual_size(evidence: Evidence, sources: int) -> int:
    sizes = Counter(len(used) for _, used in _chosen(evidence))
    return min(sizes.most_common(1)[0][0] if sizes else 5, max(1, sources - 1))


def _nearest(nxn: NByN, similarity: np.ndarray, size: int) -> tuple[float, float]:
    """Mean precision at `size` of the nearest sources, and their accuracy gap to the best."""
    precisions, gaps = [], []
    for column, target in enumerate(nxn.locales):
        others = {name: value for name, value in nxn.column(target).items() if name != target}
        like = {
            name: float(similarity[nxn.sources.index(name), column])
            for name in others
            if not np.isnan(similarity[nxn.sources.index(name), column])
        }
        if len(like) < len(others) or len(others) <= size:
            continue
        nearest = sorted(like, key=lambda name: -like[name])[:size]
        best = sorted(others.values(), reverse=True)[:size]
        precisions.append(precision_at_k(nearest, others))
        gaps.append(float(np.mean(best) - np.mean([others[name] for name in nearest])))
    return (float(np.mean(precisions)), float(np.mean(gaps))) if gaps else (float("nan"), float("nan"))


def _similarity(name: str, nxn: NByN) -> np.ndarray:
    known = [tag for tag in locales_with_data(name) if tag in {*nxn.sources, *nxn.locales}]
    if len(known) < 2:
        raise UserError(f"feature set '{name}' has data for {counted(len(known), 'locale')} of the matrix")
    matrix = from_features(name, known)
    result = np.full((len(nxn.sources), len(nxn.locales)), np.nan)
    for row, source in enumerate(nxn.sources):
        for column, target in enumerate(nxn.locales):
            if source in known and target in known:
                result[row, column] = matrix.similarity(target, source)
    return result


def _order(nxn: NByN) -> list[str]:
    every = list(dict.fromkeys([*nxn.locales, *nxn.sources]))
    known = [tag for tag in every if tag in LOCALES and tag in locales_with_data(DEFAULT_FEATURE_SET)]
    clustered = [known[place] for place in clustered_order(from_features(DEFAULT_FEATURE_SET, known))] if known else []
    return [*clustered, *(tag for tag in every if tag not in clustered)]


def _apart(nxn: NByN) -> np.ndarray:
    return np.array(nxn.sources)[:, None] != np.array(nxn.locales)[None, :]


def _column_means(nxn: NByN) -> np.ndarray:
    others = np.where(_apart(nxn), nxn.accuracy, np.nan).T
    return np.array([np.nanmean(column) if np.isfinite(column).any() else np.nan for column in others])
