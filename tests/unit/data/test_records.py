import json
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value

from mu_lightning.data.records import read_records
from mu_lightning.utilities.errors import UserError


def read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    return [(record.line, record.values) for record in read_records(path)]


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(content: str | bytes, name: str = "en.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        "text,label\nlamp on,a\nlamp off,b\n",
        "\ufefftext,label\nlamp on,a\nlamp off,b\n",  # a byte-order mark
        "text,label\r\nlamp on,a\r\nlamp off,b\r\n",
        "text,label\nlamp on,a\nlamp off,b",  # no line end
        "text;label\nlamp on;a\nlamp off;b\n",
        'text,label\n"lamp on",a\nlamp off,"b"\n',
        "text,label\nlamp on,a\nlamp off,b\n".encode("utf-16"),
    ],
)
def test_a_csv_file_is_read_whatever_program_wrote_it(written: Any, content: str | bytes) -> None:
    rows = [{"text": "lamp on", "label": "a"}, {"text": "lamp off", "label": "b"}]
    assert read(written(content)) == list(zip((2, 3), rows, strict=True))


def test_lines_are_counted_over_quoted_line_ends_and_blank_lines(written: Any) -> None:
    path = written('text,label\n"two\nlines, ""quoted""",a\n\n\nNA,b\n')
    assert read(path) == [(2, {"text": 'two\nlines, "quoted"', "label": "a"}), (6, {"text": "NA", "label": "b"})]


def test_tsv_json_lines_and_parquet_hold_the_same(written: Any, tmp_path: Path) -> None:
    rows = [{"text": "lamp, on", "label": "a"}, {"text": "é", "label": "b"}]
    assert read(written("text\tlabel\nlamp, on\ta\né\tb\n", "en.tsv")) == list(zip((2, 3), rows, strict=True))
    lines = "\ufeff" + "\n\n".join(json.dumps(row) for row in rows)
    assert read(written(lines, "en.jsonl")) == list(zip((1, 3), rows, strict=True))
    Dataset.from_list(rows).to_parquet(tmp_path / "en.parquet")
    assert read(tmp_path / "en.parquet") == list(zip((1, 2), rows, strict=True))


def test_parquet_classes_are_read_by_name(tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": -1}]
    Dataset.from_list(rows, features=features).to_parquet(tmp_path / "en.parquet")
    assert [values["label"] for _, values in read(tmp_path / "en.parquet")] == ["yes", None]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("", "en.csv", "en.csv, line 1: expected a header"),
        ("text,text\na,b\n", "en.csv", "en.csv, line 1: the column 'text' is there twice"),
        (
            "text,label\na,b\nlamp, on,b\n",
            "en.csv",
            "en.csv, line 3: 3 values for the 2 columns text, label: quote texts",
        ),
        ('text,label\na,b\n"never closed,b\n', "en.csv", "en.csv, line 3: not a valid row"),
        ("text,label\na,b\ncaf\xe9,b\n".encode("latin-1"), "en.csv", "en.csv, line 3: not UTF-8"),
        ('{"text": "a"}\n{"text": \n', "en.jsonl", "en.jsonl, line 2: not JSON"),
        ("[1]\n", "en.jsonl", "en.jsonl, line 1: expected a JSON object"),
        ("PAR1 no", "en.parquet", "cannot be read as Parquet"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(written: Any, content: Any, name: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        read(written(content, name))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
