"""Summary section of the report."""

from collections.abc import Mapping

from mu_lightning.evaluation.statistics import baselines
from mu_lightning.reporting.comparisons import Answer, Comparisons
from mu_lightning.reporting.content import (
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
from mu_lightning.reporting.evidence import Entry, Evidence
from mu_lightning.reporting.scores import best_label, mean
from mu_lightning.reporting.transfer import Typology
from mu_lightning.utilities.tables import counted


def section(evidence: Evidence, comparisons: Comparisons, typology: Typology | None) -> Section:
    """Builds the summary: scope, best method, answers to the main questions, typology, caveats."""
    sentences = [_scope(evidence), *_best(evidence, comparisons)]
    sentences += [_answer(answer) for answer in comparisons.answers]
    if typology is not None:
        sentences += _typology(typology)
    sentences += _cautions(evidence)
    parts = [_table(comparisons.answers)] if comparisons.answers else []
    return Section("summary", "Summary", [], parts, points=sentences)


def _scope(evidence: Evidence) -> str:
    seeds = {seed for entries in evidence.entries.values() for seed in entries}
    results = sum(len(entries) for entries in evidence.entries.values())
    where = ", ".join(filter(None, (evidence.corpus, f"{evidence.split} split" if evidence.split else "")))
    if len(evidence.targets) <= 12:
        named = ": " + ", ".join(evidence.targets)
    else:
        named = ""
    return (
        f"{counted(len(evidence.methods), 'method')} on {counted(len(evidence.targets), 'target')}{named}"
        f"{f' ({where})' if where else ''}; {counted(results, 'result')}, {counted(len(seeds), 'seed')}."
    )


def _best(evidence: Evidence, comparisons: Comparisons) -> list[str]:
    best = best_label(evidence)
    if best is None:
        return ["No method without target labels has results for all targets."]
    targets = list(evidence.targets)
    sentences = [
        f"The best method without target labels is {quoted(best)}: mean accuracy "
        f"{percent(mean(evidence, best))}\u00a0%{_in_brackets(interval(comparisons.interval(best, targets)))}."
    ]
    native = comparisons.against(baselines.NATIVE).get(best)
    if native is not None:
        ends = None if native.bootstrap is None else (native.bootstrap.low, native.bootstrap.high)
        sentences[0] = sentences[0][:-1] + (
            f", {points(native.ranks.mean)} points{_in_brackets(interval(ends, points))} relative to a model "
            "trained on target labels (ceiling)."
        )
    ranking = comparisons.ranking
    if ranking is not None and best in ranking.mean_ranks:
        first = ranking.mean_ranks[ranking.methods[0]]
        tied = [name for name in ranking.methods[1:] if ranking.mean_ranks[name] - first <= ranking.critical_difference]
        sentences.append(
            f"By mean rank over {counted(ranking.targets, 'target')} {quoted(ranking.methods[0])} is first "
            f"({first:.1f}); "
            + (
                f"by Nemenyi's test it does not differ significantly from {counted(len(tied), 'other method')} of "
                f"{len(ranking.methods) - 1}."
                if tied
                else "by Nemenyi's test it differs significantly from all other methods."
            )
        )
    return sentences


def _answer(answer: Answer) -> str:
    ends = None if answer.bootstrap is None else (answer.bootstrap.low, answer.bootstrap.high)
    ranks = answer.ranks
    test = ""
    if answer.targets > 1:
        test = (
            f"; better on {ranks.wins}, equal on {ranks.ties}, worse on {ranks.losses} of {answer.targets} targets "
            f"(rank-biserial {signed(ranks.rank_biserial)}, Wilcoxon {equals(ranks.p_value)}, "
            f"{equals(answer.adjusted)} after Holm)"
        )
    return (
        f"{answer.question} {_capital(answer.verdict)}. {_capital(answer.first)} "
        f"against {answer.second}: {points(ranks.mean)} points{_in_brackets(interval(ends, points))}, mean over "
        f"{counted(answer.methods, 'pair')} of methods and {counted(answer.targets, 'target')}{test}."
    )


def _table(answers: list[Answer]) -> Table:
    rows = []
    for answer in answers:
        ends = None if answer.bootstrap is None else (answer.bootstrap.low, answer.bootstrap.high)
        ranks = answer.ranks
        rows.append(
            [
                Value(answer.question, answer.question),
                Value(answer.verdict, answer.verdict),
                Value(points(ranks.mean), ranks.mean, interval(ends, points)),
                Value(f"{ranks.wins} / {ranks.ties} / {ranks.losses}", ranks.wins),
                Value(signed(ranks.rank_biserial), ranks.rank_biserial),
                Value(probability(answer.adjusted), answer.adjusted),
            ]
        )
    header = ["question", "answer", "difference, points", "wins / ties / losses", "rank-biserial", "p after Holm"]
    note = (
        "An answer is yes if both the interval (over utterances) and the test over targets (over languages) are "
        "significant."
    )
    return Table("answers", "Main questions", header, rows, note, sortable=False)


def _typology(typology: Typology) -> list[str]:
    best = typology.best
    if best is None:
        return []
    found = typology.explained[best]
    others = {name: one for name, one in typology.explained.items() if name != best and one.by_target}
    second = max(others, key=lambda name: others[name].mean, default=None)
    more = "" if second is None else f"; next is {second} ({signed(others[second].mean)})"
    return [
        f"Of the feature sets {best} has the highest mean rank correlation with transfer: "
        f"{signed(found.mean)}{_in_brackets(interval(found.interval, signed))} over "
        f"{counted(len(found.by_target), 'locale')}, positive for {found.positive}{more}."
    ]


def _cautions(evidence: Evidence) -> list[str]:
    store = evidence.store
    parts = [
        counted(number, what)
        for number, what in (
            (len(store.failed), "failed result"),
            (len(store.damaged), "damaged result"),
            (len(evidence.left_out), "incomparable result"),
        )
        if number
    ]
    sentences = [f"Not included: {', '.join(parts)} (see below)."] if parts else []
    if all(_trainings(seeds) == 1 for seeds in evidence.entries.values()):
        sentences.append("All methods have one seed: intervals cover test sampling, not training randomness.")
    if 1 < len(evidence.targets) < 6:
        sentences.append(
            f"With {len(evidence.targets)} targets Wilcoxon's test cannot reach p < 0.05: at least 6 are needed."
        )
    return sentences


def _trainings(seeds: Mapping[int, Entry]) -> int:
    """Number of trainings behind a method's results on a target: seeds for weights share models."""
    models = [entry.cell.fingerprints.get("models") if entry.cell else None for entry in seeds.values()]
    return len({repr(found or seed) for seed, found in zip(seeds, models, strict=True)})


def quoted(label: str) -> str:
    """Quotes the name of a method."""
    return f"\u201c{label}\u201d"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _in_brackets(text: str) -> str:
    return f" [{text}]" if text else ""
