import json
from pathlib import Path

import pytest

from mu_lightning.commands.advise import run
from mu_lightning.utilities.errors import UserError

SMALL = ["--corpus", "small", "--num-languages", "2"]


def test_it_prints_a_table_or_json_and_writes_it(
    capsys: pytest.CaptureFixture[str], tiny_base: Path, tmp_path: Path
) -> None:
    asked = [*SMALL, "--base", str(tiny_base), "--target", "af-ZA"]  # the short name
    assert run(asked) == 0
    assert "af-ZA (Afrikaans): 3 languages to train on" in capsys.readouterr().out
    output = tmp_path / "advice.json"
    assert run([*asked, "--json", "--output-file", str(output)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(output.read_text(encoding="utf-8"))
    assert found["chosen"] == [one["language"] for one in found["candidates"]][:2]
    with pytest.raises(UserError, match="already holds a file"):
        run([*asked, "--output-file", str(output)])


def test_mistakes_are_refused_before_anything_is_read(tmp_path: Path, tiny_base: Path) -> None:
    with pytest.raises(UserError, match="no target is given: set --target-lang"):
        run(SMALL)
    with pytest.raises(UserError, match="unknown language 'xx-invalid'"):
        run([*SMALL, "--target-lang", "xx-invalid"])
    with pytest.raises(UserError, match="no N-by-N matrix in"):
        run([*SMALL, "--base", str(tiny_base), "--target-lang", "yo", "--nxn", str(tmp_path)])
