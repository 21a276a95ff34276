"""From the shell to the first training step: `python cli.py fit --config configs/quickstart.yaml`, as it stands there.

Each time a new process is started, and its clock stops when its first optimizer step is done; then it ends. Before the
first time that counts, the command runs once, so that files lie in the system's cache and the corpus is tokenized: as
on a machine in use. `--write` puts the result into docs/benchmarks.md.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from common import ROOT, goal, provenance, write_section

GOAL = 8.0
COMMAND = ("cli.py", "fit", "--config", "configs/quickstart.yaml")
STARTED = "MU_BENCHMARK_STARTED"


def __getattr__(name: str) -> Any:
    """`FirstStep`, made where it is asked for: this file is imported by what it measures too."""
    if name != "FirstStep":
        raise AttributeError(name)
    from lightning.pytorch import Callback

    class FirstStep(Callback):
        """Says how long it took until here, and ends the process."""

        def on_train_batch_end(self, *given: Any) -> None:
            print(f"first step: {time.time() - float(os.environ[STARTED])}", flush=True)
            os._exit(0)

    FirstStep.__module__, FirstStep.__qualname__ = __name__, name
    globals()[name] = FirstStep
    return FirstStep


def first_step(scratch: str) -> float:
    """Seconds until the first step of a new process."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])
        environment = {**os.environ, "PYTHONPATH": path, "MU_CACHE_DIR": f"{scratch}/cache", STARTED: str(time.time())}
        words = [*COMMAND, "--output-dir", f"{folder}/run", "--trainer.callbacks", "startup.FirstStep"]
        done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("first step: ")]
    if not found:
        raise SystemExit(f"{' '.join(words)} made no step:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return float(found[0].split()[-1])


def main() -> None:
    """Measures and prints a sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="how often")
    parser.add_argument("--write", action="store_true", help="put the result into docs/benchmarks.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cold = first_step(scratch)
        seconds = [first_step(scratch) for _ in range(arguments.repeats)]
    middle = statistics.median(seconds)
    text = (
        f"{provenance('torch', 'lightning', 'transformers')}\n\nFrom the shell to the end of the first training step "
        f"of `python {' '.join(COMMAND)}`: {middle:.1f} s, the median of {len(seconds)} ({min(seconds):.1f} to "
        f"{max(seconds):.1f}), with the corpus tokenized before; {cold:.1f} s the first time. Goal: at most {GOAL:g} s."
    )
    print(text)
    goal("seconds from the shell to the first training step", middle, at_most=GOAL)
    if arguments.write:
        write_section("startup", f"## Starting\n\n{text}")


if __name__ == "__main__":
    main()
