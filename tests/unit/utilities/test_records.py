"""A record has the types that it must have, or is refused in a line that names the field."""

from pathlib import Path

import pytest

from mu_lightning.utilities import records
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.records import Record, read_record


class Run(Record):
    epochs: int
    score: float | None = None


def test_fields_are_read_and_others_are_kept(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"epochs": 3, "score": 1, "more": [1]}')
    found = read_record(tmp_path / "run.json", Run, "a run")
    assert (found.epochs, found.score) == (3, 1.0)
    assert found.model_dump(exclude_unset=True) == {"epochs": 3, "score": 1.0, "more": [1]}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{}", "run.json is not a run: epochs: Field required"),
        ('{"epochs": "3"}', "epochs: Input should be a valid integer"),
        ('{"epochs": true}', "epochs: Input should be a valid integer"),
        ('{"epochs": 3, "score": NaN}', "score: Input should be a finite number"),
        ('{"epochs": 3, "more": ' + "[" * 70 + "]" * 70 + "}", "it is nested too deeply"),
        ("[" * 10**5, "nested too deeply"),
        ("5", "does not hold a JSON object"),
        (" " * 200 + "{}", "has 202 bytes: at most 150 are read"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "202" in line:
        monkeypatch.setattr(records, "MAX_RECORD", 150)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=line):
        read_record(tmp_path / "run.json", Run, "a run")
