import json
from pathlib import Path

import pytest

from mu_lightning.commands.data import run
from mu_lightning.utilities.errors import UserError


def test_it_prints_a_table_or_json(capsys: pytest.CaptureFixture[str], tiny_base: Path) -> None:
    assert run(["--corpus", "small", "--locales", "af-ZA,en-US"]) == 0
    table = capsys.readouterr().out
    assert [line.split()[0] for line in table.splitlines()[2:4]] == ["af-ZA", "en-US"]
    assert run(["--corpus", "small", "--base", str(tiny_base), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["corpus"], len(found["labels"])) == ("small", 25)
    english = next(one for one in found["languages"] if one["language"] == "en-US")
    assert english["rows"] == {"train": 61, "dev": 45, "test": 70}
    assert english["labeled"] == ["train", "dev", "test"]
    assert english["tokens"]["per_word"] >= 1


def test_mistakes_are_refused() -> None:
    with pytest.raises(UserError, match="has no locale 'yo'"):
        run(["--corpus", "small", "--locales", "yo"])
    with pytest.raises(UserError, match="named twice"):
        run(["--corpus", "small", "--locales", "af-ZA,af-ZA"])
    with pytest.raises(UserError, match="--max-length is 2"):
        run(["--corpus", "small", "--max-length", "2"])
