import io

import pytest

from mu_lightning.data.record_writer import WRITTEN, RecordWriter
from mu_lightning.data.records import text_records
from mu_lightning.utilities.errors import UserError


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_is_written_is_read_again(kind: str) -> None:
    rows = [{"text": 'a, "b"\tc\nd', "label": "é"}, {"text": "x", "label": ""}]
    stream = io.StringIO(newline="")
    writer = RecordWriter(stream, kind)
    for row in rows:
        writer.write(row)
    stream.seek(0)
    assert [record.values for record in text_records(stream, kind, "it")] == rows


def test_a_tables_records_have_the_same_columns() -> None:
    writer = RecordWriter(io.StringIO(), ".csv")
    writer.write({"a": 1})
    with pytest.raises(UserError, match=r"has the columns a, b, the first one a: write \.jsonl"):
        writer.write({"a": 1, "b": 2})
