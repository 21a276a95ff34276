"""Fuzzes the readers of files from outside: `python benchmarks/fuzz.py --examples 10000 [--only recipes]`.

Prints the smallest input of each fault; the exit status is the number of readers with one. The readers and their inputs
are in `tests/verification/fuzzing.py`.
"""

import argparse
import importlib.util
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings

ROOT = Path(__file__).parents[1]
MOST_SECONDS = 60.0


def fuzzed() -> dict[str, Any]:
    """The readers."""
    sys.path.insert(0, str(ROOT))
    spec = importlib.util.spec_from_file_location("fuzzing", ROOT / "tests" / "verification" / "fuzzing.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["fuzzing"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.FUZZED)


def fault(one: Any, examples: int) -> str:
    """The traceback of a reader's smallest fault, empty without one."""
    from mu_lightning.utilities.errors import UserError

    last = b""

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(one.files)
    def tried(content: bytes) -> None:
        nonlocal last
        last, start = content, time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                one.read(content, Path(folder))
                said = ""
            except UserError as error:
                said = str(error)
        assert "\n" not in said
        assert time.monotonic() - start < MOST_SECONDS

    try:
        tried()
    except Exception:
        return f"{traceback.format_exc(limit=-8)}\ninput: {last!r}"
    return ""


def main() -> int:
    """Tries every reader; returns the number of those with a fault."""
    reading = argparse.ArgumentParser(description=__doc__)
    reading.add_argument("--examples", type=int, default=10_000, help="inputs of each reader")
    reading.add_argument("--only", default=None, help="a reader's name")
    asked = reading.parse_args()
    faults = 0
    for name, one in fuzzed().items():
        if asked.only in (None, name):
            found = fault(one, asked.examples)
            faults += bool(found)
            print(f"{name}: {found or 'no fault'}", flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(main())
