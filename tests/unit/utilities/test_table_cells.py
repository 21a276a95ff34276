"""No cell of a table that is written is a formula to a spreadsheet, and each is read back as it was."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas
import pytest

from mu_lightning.data.record_writer import RecordWriter
from mu_lightning.data.records import read_records
from mu_lightning.reporting.content import Table, Value
from mu_lightning.reporting.formats import as_csv
from mu_lightning.typology.similarity import SimilarityMatrix, read_csv, write_csv
from mu_lightning.utilities.table_cells import original, safe, safe_frame

TEXTS = [
    "=HYPERLINK(1)",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "'=1",
    "''=1",
    "'tis",
    "a=1",
    "",
    "-",
]
PLAIN = ["-3.5", "+2", "1e-5", "-1e5"]  # numbers, which compute nothing
SIGNS = re.compile("[=+\\-@\t\r\n＝＋－＠]")


@pytest.mark.parametrize("text", [*TEXTS, *PLAIN])
def test_a_cell_is_no_formula_and_is_read_back(text: str) -> None:
    assert original(safe(text)) == text
    assert text in PLAIN or not SIGNS.match(safe(text))


@pytest.mark.parametrize("kind", [".csv", ".tsv"])
def test_predictions_are_read_back(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"predictions{kind}"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = RecordWriter(stream, kind)
        for text in TEXTS:
            writer.write({"=column": text, "n": -0.5})
    with path.open(encoding="utf-8", newline="") as stream:
        cells = [cell for row in csv.reader(stream, delimiter="," if kind == ".csv" else "\t") for cell in row]
    assert not [cell for cell in cells if SIGNS.match(cell) and cell != "-0.5"]
    assert [one.values for one in read_records(path)] == [{"=column": text, "n": "-0.5"} for text in TEXTS]


def test_so_are_matrices_and_the_tables_of_reports_and_sweeps(tmp_path: Path) -> None:
    write_csv(SimilarityMatrix(("=a", "b"), np.eye(2)), tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text().splitlines()[0] == ",'=a,b"
    assert read_csv(tmp_path / "m.csv").locales == ("=a", "b")
    table = Table("key", "title", ("=name",), [(Value("=x"),)])
    assert as_csv(table) == "'=name\n'=x\n"
    frame = safe_frame(pandas.DataFrame({"=a": ["=x", "y"], "n": [-1.0, 2.0]}))
    written = io.StringIO()
    frame.to_csv(written, index=False)
    assert written.getvalue() == "'=a,n\n'=x,-1.0\ny,2.0\n"
