"""README's lines of Python, run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

from mu_lightning import Results

ROOT = Path(__file__).parents[2]


def test_readmes_lines_of_python_run_and_name_nothing_below_the_second_level(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert not re.search(r"mu_lightning\.\w+\.|from mu_lightning\.\w+", readme)
    (tmp_path / "first.py").write_text(code.replace("limit_train=200", "limit_train=32").replace("(0, 1)", "(0,)"))
    command = [sys.executable, "first.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    results = Results(tmp_path / "runs" / "first")
    assert sorted(results.table["name"]) == [
        "iterative, linear, URIEL, every epoch", "merged once, linear, URIEL", "merged once, ties, URIEL",
    ]  # fmt: skip
    assert results.failed == {}
    assert (tmp_path / "runs" / "first-report" / "report.html").is_file()
