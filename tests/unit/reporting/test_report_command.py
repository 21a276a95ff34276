"""The command `report`: every file, in every format, from the same sections."""

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import cli

Add = Callable[..., Path]
Make = Callable[[Path], Path]
SECTIONS = [
    "Summary", "Methods by targets", "Differences to the baselines", "Win rates", "Ranks over targets",
    "All sources on all locales", "Typology and transfer", "Weights", "Costs", "Missing, failed and corrupt results",
    "How to reproduce",
]  # fmt: skip


class Outline(HTMLParser):
    """Headings, ids, references, and what is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in ("meta", "link", "br", "img", "input"):
            self.open.append(tag)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.links.append(str(values["href"]))
        self.loaded += [str(values[name]) for name in ("src", "srcset", "data") if name in values]
        self.loaded += [str(values["href"])] if tag in ("link", "image", "use") and "href" in values else []
        self.loaded += [str(values["xlink:href"])] if "xlink:href" in values else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "link", "br", "img", "input"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, make_results: Make, make_matrix: Make) -> tuple[Path, str]:
    """The report's folder and what the command printed."""
    folder = tmp_path_factory.mktemp("report")
    results, matrix, output = make_results(folder / "results"), make_matrix(folder / "nxn"), folder / "report"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert cli.main(["report", str(results), "--nxn", str(matrix), "--output-dir", str(output)]) == 0
    return output, printed.getvalue()


def test_the_report_is_whole_in_every_format(report: tuple[Path, str]) -> None:
    folder, printed = report
    assert sorted(path.name for path in folder.iterdir()) == ["figures", "report.html", "report.md", "tables"]
    assert str(folder / "report.html") in printed
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    html = (folder / "report.html").read_text(encoding="utf-8")
    outline = Outline(html)
    assert outline.open == []
    assert outline.headings == SECTIONS
    assert re.findall(r"^## (.*)$", markdown, re.MULTILINE) == SECTIONS
    for text in (printed, markdown):  # sentences with the numbers in them
        assert "The best method without target labels is “ensemble, soft, URIEL”: mean accuracy 53.3\u00a0%" in text
        assert "URIEL weights against equal weights: +16.7 points" in text
    # Whatever the pages name is there, and whatever is there the pages name.
    named = {link for link in outline.links if not link.startswith("#") and not link.startswith("http")}
    assert all((folder / link).is_file() for link in named)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()}
    assert files - named == {"report.html"}
    in_markdown = set(re.findall(r"\]\(([^)]+)\)", markdown))
    assert all((folder / link).is_file() for link in in_markdown)
    assert {Path(name).stem for name in in_markdown} >= {path.stem for path in (folder / "tables").iterdir()}


def test_the_page_needs_nothing_but_itself(report: tuple[Path, str]) -> None:
    html = (report[0] / "report.html").read_text(encoding="utf-8")
    outline = Outline(html)
    assert len(outline.ids) == len(set(outline.ids))
    assert [one[:40] for one in outline.loaded if not one.startswith(("data:", "#"))] == []
    assert [link for link in outline.links if link.startswith("#") and link[1:] not in outline.ids] == []
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    references = re.findall(r'(?:xlink:href|href)="#([^"]+)"', html) + re.findall(r"url\(#([^)]+)\)", html)
    assert set(references) <= set(outline.ids)


def test_every_figure_has_words_and_both_files_and_follows_the_pages_colors(report: tuple[Path, str]) -> None:
    folder, _ = report
    html = (folder / "report.html").read_text(encoding="utf-8")
    figures = sorted(path.stem for path in (folder / "figures").glob("*.svg"))
    assert figures == sorted(path.stem for path in (folder / "figures").glob("*.png"))
    assert figures == [
        "accuracy", "costs", "critical_difference", "differences", "differences_by_target", "nxn",
        "similarity_transfer", "weights", "win_rates",
    ]  # fmt: skip
    for path in (folder / "figures").glob("*.svg"):
        ElementTree.parse(path)
    drawings = re.findall(r"<svg [^>]*>", html)
    assert len(drawings) == len(figures)
    assert all(re.search(r'role="img" aria-label="[^"]{20,}"', drawing) for drawing in drawings)
    assert html.count("var(--ink)") > 100
    assert '#1b1f24"' not in html.partition("<main>")[2]


def test_the_tables_hold_the_numbers(report: tuple[Path, str]) -> None:
    folder, _ = report
    with (folder / "tables" / "scores.csv").open(encoding="utf-8", newline="") as lines:
        scores = {(row["method"], row["target"]): row for row in csv.DictReader(lines)}
    assert float(scores["ensemble, soft, URIEL", "sq-AL"]["accuracy"]) == pytest.approx(32 / 60)
    assert scores["merged once, linear, shuffled", "sq-AL"]["seeds"] == "2"
    with (folder / "tables" / "one_target.csv").open(encoding="utf-8", newline="") as lines:
        tests = {(row["method"], row["baseline"], row["target"]): row for row in csv.DictReader(lines)}
    one = tests["merged once, linear, URIEL", "best of the sources used", "af-ZA"]
    assert (one["only_method_right"], one["only_baseline_right"]) == ("8", "0")
    html = (folder / "report.html").read_text(encoding="utf-8")
    table = html.partition('id="table-scores"')[2].partition("</figure>")[0]
    best = re.findall(r'<td data-value="([\d.]+)" class="best[^"]*">', table.partition('class="print"')[0])
    assert [float(value) for value in best] == pytest.approx([32 / 60] * 4)  # the mean, and each of three targets
    assert "significantly above" in table


def test_gaps_are_said_and_not_averaged_and_iterative_runs_are_drawn(
    results: Path, tmp_path: Path, add_cell: Add
) -> None:
    right = np.arange(60) < 60
    broken = add_cell(results, "af-ZA", right, "ties", preweight="uriel")
    record = json.loads((broken / "results.json").read_text(encoding="utf-8"))
    record["results"][0]["accuracy"] = 0.5
    (broken / "results.json").write_text(json.dumps(record), encoding="utf-8")
    half = add_cell(results, "es-ES", right, "ties", preweight="uriel")
    (half / "results.json").unlink()
    add_cell(results, "sq-AL", right, "ties", preweight="uriel")
    run = add_cell(results, "af-ZA", right, "iterative", preweight="uriel")
    names = ("index", "committed", "accuracy_before", "accuracy_after", "before/de-DE", "before/ensemble")
    further = [f"es-ES/{name}" for name in names[2:]]  # a second target of the same run
    rows = [
        [f"merge/{name}" for name in (*names, *further)],
        (1, 1.0, 0.2, 0.3, 0.2, 0.25, 0.5, 0.6, 0.5, 0.5),
        (2, 0.0, 0.4, 0.3, 0.4, 0.4, 0.6, 0.7, 0.6, ""),
    ]
    (run / "merges.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    assert cli.main(["report", str(results), "--output-dir", str(tmp_path / "report")]) == 0
    markdown = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    gaps = markdown.partition("## Missing, failed and corrupt results")[2].partition("\n## ")[0]
    assert "| af-ZA/slerp |" in gaps
    assert "slerp merges two" in gaps
    assert "have an accuracy of 1.0000, results.json says 0.5000" in gaps
    assert "half-written" in gaps
    assert "| merged once, ties, URIEL | all but sq-AL | – |" in gaps
    assert "Not included: 1 failed result, 2 damaged results (see below)." in markdown
    assert "| merged once, ties, URIEL | none | **100.0**" not in markdown  # the mean of one target is no best mean
    assert (tmp_path / "report" / "figures" / "timelines.png").stat().st_size > 5000
    with (tmp_path / "report" / "tables" / "timelines.csv").open(encoding="utf-8", newline="") as lines:
        assert [row["committed"] for row in csv.DictReader(lines)] == ["True", "False"] * 2
    assert "| af-ZA | 1 of 2 | 20.0 | 30.0 | 0.0 |" in markdown
    assert "| es-ES | 1 of 2 | 50.0 | 70.0 | +10.0 |" in markdown


def test_one_target_and_one_method_are_enough(tmp_path: Path, add_cell: Add) -> None:
    add_cell(tmp_path / "results", "af-ZA", np.arange(60) < 30, "linear", preweight="uriel")
    assert cli.main(["report", str(tmp_path / "results"), "--output", str(tmp_path / "report")]) == 0
    markdown = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "1 method on 1 target: af-ZA (cldr, test split); 1 result, 1 seed." in markdown
    assert "There are no baselines." in markdown
    assert "Ranks need at least three methods" in markdown


def test_equal_results_give_equal_numbers_and_figures(results: Path, tmp_path: Path) -> None:
    from mu_lightning.reporting.filtering import Filters
    from mu_lightning.reporting.formats import as_csv
    from mu_lightning.reporting.gathering import gather
    from mu_lightning.reporting.write import _draw, sections_of
    from mu_lightning.results.store import read_store

    once, again = (sections_of(gather(read_store(results), None, Filters()), "") for _ in range(2))
    assert [as_csv(table) for one in once for table in one.tables] == [
        as_csv(table) for one in again for table in one.tables
    ]
    drawings = [_draw(one[1].figures[0], tmp_path / name) for one, name in ((once, "a"), (again, "b"))]
    assert drawings[0] == drawings[1]
    assert (tmp_path / "a" / "accuracy.svg").read_bytes() == (tmp_path / "b" / "accuracy.svg").read_bytes()


def test_mistakes_are_one_line_and_leave_nothing(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report"
    for argv, said in (
        ([str(tmp_path / "nowhere")], "no results: there is no folder"),
        ([str(results), "--locales", "fr-FR"], "no results match the filters"),
        ([str(results), "--experiment-types", "merges"], "unknown experiment type 'merges'"),
        ([str(results), "--nxn", str(results)], "no N-by-N matrix in"),
    ):
        assert cli.main(["report", *argv, "--output-dir", str(output)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        assert not output.exists()
    output.mkdir()
    (output / "mine").touch()
    assert cli.main(["report", str(results), "--output-dir", str(output)]) == 2
    assert "already holds a report" in capsys.readouterr().err
