"""Text, JSON and CSV files from outside: what is wrong is one line that names the file and the place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_csv_rows, read_json, read_json_object, read_text

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
Read = Callable[[Path], object]


@pytest.mark.parametrize("read", [read_text, read_json, read_csv_rows])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("é".encode("utf-16"), "UTF-16"),
        ("é".encode("utf-32"), "UTF-32"),
        (b"ok\nna\xefve", "line 2: the byte 0xef is not UTF-8"),
        (b"a\n\0b", "line 2: NUL character"),
        (POINTER.encode(), "Git LFS pointer.*git lfs pull"),
    ],
)
def test_what_is_no_text_is_named_at_every_door(read: Read, content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_text("abcde")
    with pytest.raises(UserError, match="5 bytes: at most 4"):
        read_text(tmp_path / "large", max_bytes=4)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_text(tmp_path / "none")
    with pytest.raises(UserError, match="cannot be read"):
        read_text(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is there twice"),
        ("9" * 5000, "4300 digits"),
    ],
)
def test_what_is_no_json_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(UserError, match=f"file.json is not valid JSON: .*{expected}"):
        read_json(tmp_path / "file.json")


def test_json_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text('{"a": "é"}', encoding="utf-8-sig")
    assert read_json_object(tmp_path / "file.json") == {"a": "é"}
    (tmp_path / "file.json").write_text("[]")
    with pytest.raises(UserError, match="does not hold a JSON object"):
        read_json_object(tmp_path / "file.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("a,b,a\n1,2,3\n", "line 1: the header names the column 'a' twice"),
        ("a,b\n1,2\n\n3\n", "line 4: 1 cells in the row of '3', but the header has 2"),
        ("a,b\n1,2,3\n", "line 2: 3 cells"),
        ('a,b\n"1"x,2\n', "line 2: not CSV"),
        ('a,b\n1,"2\n', "not CSV"),
    ],
)
def test_what_is_no_table_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text(text)
    with pytest.raises(UserError, match=expected):
        read_csv_rows(tmp_path / "file.csv")


def test_rows_come_with_their_lines_and_without_blanks(tmp_path: Path) -> None:
    (tmp_path / "file.csv").write_text('a, b\n\n"1\n1",2 \n', encoding="utf-8-sig")
    assert [(row.line, row.cells) for row in read_csv_rows(tmp_path / "file.csv")] == [
        (1, ["a", "b"]),
        (4, ["1\n1", "2"]),
    ]
