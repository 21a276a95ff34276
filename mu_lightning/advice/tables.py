"""Advice as text for the terminal."""

from mu_lightning.advice.advising import Advice, Candidate
from mu_lightning.advice.pairs import COVERAGE, SCRIPT
from mu_lightning.advice.validation import Validation
from mu_lightning.locales import locale
from mu_lightning.settings import DEFAULT_FEATURE_SET
from mu_lightning.utilities.tables import counted, text_table

_SHOWN = 10  # candidates


def show(advice: Advice, validated_on: str = "") -> str:
    """Formats advice: a table of candidates, then what to do, one line each.

    Args:
        advice: the advice.
        validated_on: the matrix, for the line on the error.
    """
    name = f"{advice.target} ({locale(advice.target).name})"
    shown = advice.candidates[: max(_SHOWN, len(advice.chosen))]
    lines = [f"{name}: {counted(len(advice.candidates), 'language')} to train on, best first", ""]
    lines.append(_table(advice, shown))
    if len(shown) < len(advice.candidates):
        lines.append(f"... and {len(advice.candidates) - len(shown)} more (--json lists all)")
    lines += ["", f"train on: --locales {','.join(advice.chosen)}"]
    if advice.validation is None:
        lines.append("no accuracy is predicted: that needs a matrix of the command nxn (--nxn)")
    else:
        lines += [*_expected(advice), _error(advice.validation, validated_on)]
    return "\n".join([*lines, _label_next(advice), *advice.notes])


def _table(advice: Advice, shown: tuple[Candidate, ...]) -> str:
    predicted = advice.validation is not None
    measured = any(one.measured is not None for one in shown)
    header = ("", "language", *(("predicted", "95 % interval") if predicted else ()))
    header += (*(("measured",) if measured else ()), advice.feature_set, "family", "tokens", "script")
    rows = []
    for one in shown:
        row = [one.language, one.name]
        if one.predicted is not None and one.interval is not None:
            row += [_percent(one.predicted), f"{_percent(one.interval[0])} to {_percent(one.interval[1])}"]
        if measured:
            row.append("" if one.measured is None else _percent(one.measured))
        for feature, form in ((advice.feature_set, _similarity), ("family", _similarity), (COVERAGE, _percent)):
            value = one.features[feature]
            row.append("" if value is None else form(value))
        rows.append([*row, "same" if one.features[SCRIPT] else "other"])
    return text_table(header, rows)


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _similarity(value: float) -> str:
    return f"{value:.2f}"


def _expected(advice: Advice) -> list[str]:
    best = advice.candidates[0]
    assert best.predicted is not None
    assert best.interval is not None
    low, high = best.interval
    line = f"expected: {_percent(best.predicted)} ({_percent(low)} to {_percent(high)}) with {best.language} alone"
    if advice.own_labels is not None:
        line += f"; models on labels of the target's own: {_percent(advice.own_labels)} on average in the matrix"
    return [line]


def _error(found: Validation, matrix: str) -> str:
    return (
        f"error on {counted(found.targets, 'left-out language')}{matrix and f' of {matrix}'}: "
        f"{100 * found.error:.1f} points, rank correlation {found.model.correlation:+.2f} "
        f"({DEFAULT_FEATURE_SET}: {found.similarity.correlation:+.2f}), precision at {found.size} "
        f"{_percent(found.model.precision)} ({_percent(found.similarity.precision)}), {_percent(found.inside)} inside "
        "the intervals"
    )


def _label_next(advice: Advice) -> str:
    if not advice.label_next:
        return f"label next: {advice.target} itself; no unlabeled language ranks above {advice.candidates[0].language}"
    shown = []
    for one in advice.label_next:
        value = one.features[advice.feature_set]
        known = _percent(one.predicted) if one.predicted is not None else "" if value is None else _similarity(value)
        shown.append(f"{one.language} ({one.name}, {known})")
    return f"label next: {advice.target} itself, or else {', '.join(shown)}"
