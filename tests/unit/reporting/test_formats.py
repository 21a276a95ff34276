"""Numbers as text, and tables as CSV, LaTeX and Markdown."""

import csv
import io

import pytest

from mu_lightning.reporting.content import Table, Value, equals, interval, percent, points, probability, signed
from mu_lightning.reporting.formats import as_csv, as_latex, as_markdown, best_of


@pytest.fixture
def table() -> Table:
    rows = [
        [Value("a_b, 50 %"), Value("61.2", 0.612345, "58.0 to 64.1", best=True, mark="above")],
        [Value("c|d"), Value("\u22121.0", -0.01, mark="below")],
    ]
    return Table("scores", "Scores & more", ["method", "af-ZA"], rows, "A note.")


def test_numbers_are_written_alike_everywhere() -> None:
    assert percent(0.6125) == "61.3"
    assert percent(float("nan")) == "–"
    assert [points(value) for value in (0.0123, -0.0123, 0.0001, -0.0001)] == ["+1.2", "\u22121.2", "0.0", "0.0"]
    assert points(0.0096) == "+1.0"
    assert interval((0.1, 0.2)) == "10.0 to 20.0"
    assert interval(None) == ""
    assert [probability(value) for value in (0.0004, 0.049, 0.2)] == ["<0.001", "0.049", "0.20"]
    assert [equals(value) for value in (0.0004, 0.2)] == ["p < 0.001", "p = 0.20"]
    assert signed(-0.5) == "\u22120.50"


def test_csv_holds_the_unrounded_numbers(table: Table) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert lines[0] == {"method": "a_b, 50 %", "af-ZA": "0.612345"}
    assert as_csv(Table("x", "x", ["a"], [])) == "a\n"


def test_latex_is_escaped_bold_and_marked(table: Table) -> None:
    text = as_latex(table)
    assert r"a\_b, 50 \% & \textbf{61.2}$^{\blacktriangle}$ {\scriptsize 58.0 to 64.1} \\" in text
    assert r"c|d & $-$1.0$^{\blacktriangledown}$ \\" in text
    assert r"\caption{Scores \& more. A note.}" in text
    assert text.count(r"\begin") == text.count(r"\end")
    assert text.count("{") == text.count("}")


def test_markdown_keeps_its_columns(table: Table) -> None:
    lines = as_markdown(table).splitlines()
    assert lines[2] == "| a_b, 50 % | **61.2** ▲ [58.0 to 64.1] |"
    assert lines[3] == "| c\\|d | \u22121.0 ▼ |"


def test_all_that_tie_are_best_and_gaps_are_not() -> None:
    assert best_of([0.5, float("nan"), 0.7, 0.7]) == {2, 3}
    assert best_of([0.5, 0.7], high=False) == {0}
    assert best_of([float("nan")]) == set()
