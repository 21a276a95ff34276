"""Kills a small run again and again, at named points or at any instant, and compares what it resumes to.

    python benchmarks/kill_sweep.py --kills 300

Runs are started by a process that has imported everything already and forks, so that a kill costs the run's own time
alone. Each run is killed until it ends; its merged model, merges, logged losses and results must then be those of a run
that nobody disturbed.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
ARGUMENTS = (
    "fit",
    *("--target-lang", "af-ZA", "--locales", "nl-NL,de-DE", "--data.limit_train", "32", "--batch-size", "8"),
    *("--max-epochs", "2", "--checkpoint-before-merge", "--checkpoint.every_n_steps", "2"),
    *("--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1"),
)
TIMED = ("seconds", "speed/", "memory/")  # columns that tell two equal runs apart


class Ended(NamedTuple):
    """How a run ended: its exit status (negative: the signal that ended it), how long it took, what it said."""

    status: int
    seconds: float
    said: str


def points() -> dict[str, tuple[str, str, int]]:
    """Named point -> module and attribute whose call of that number is the last thing that the run does."""
    return {
        "in a step": ("mu_lightning.models.joint", "JointClassifier.training_step", 7),
        "between gradient and step": ("mu_lightning.models.optim.optimizer", "MemberAdamW._step_group", 22),
        "in a merge": ("mu_lightning.models.classifier", "IntentClassifier.take", 4),
        "in a save": ("mu_lightning.training.checkpointing.run_checkpoints", "_Hashing.write", 400),
        "between a checkpoint and its manifest": (
            "mu_lightning.training.checkpointing.run_checkpoints",
            "write_json",
            3,
        ),
        "in the removal of an old checkpoint": (
            "mu_lightning.training.checkpointing.run_checkpoints",
            "manifest_of",
            40,
        ),
        "in a model folder's export": ("transformers", "PreTrainedTokenizerBase.save_pretrained", 1),
        "in writing the results": ("mu_lightning.results.results", "write_text", 1),
    }


class Runs:
    """A process that forks runs; use it as a context."""

    def __enter__(self) -> "Runs":
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--serve"]
        self.server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()

    def run(
        self,
        folder: Path,
        *more: str,
        point: str | None = None,
        after: float | None = None,
        number: int = signal.SIGKILL,
        environment: Mapping[str, str] | None = None,
    ) -> Ended:
        """Runs `fit` in `folder`; sends it a signal at a named point, or after so many seconds."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        arguments = [*ARGUMENTS, "--output-dir", str(folder), *more]
        job = {
            "arguments": arguments,
            "point": point,
            "after": after,
            "signal": number,
            "cwd": str(folder.parent),
            "environment": dict(environment or {}),
        }
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        return Ended(*json.loads(self.server.stdout.readline()))

    def finish(self, folder: Path, *more: str) -> Ended:
        """Runs or resumes to the end; raises where that fails."""
        ended = self.run(folder, *more, "--resume")
        if ended.status == 2 and "nothing to resume" in ended.said:
            ended = self.run(folder, *more)  # it was killed before it had begun anything
        if ended.status:
            raise AssertionError(f"status {ended.status}: {ended.said}")
        return ended


def result(folder: Path) -> dict[str, Any]:
    """Everything of a run that must not depend on whether it was killed."""
    return {
        "merged model": hashlib.sha256((folder / "merged" / "model.safetensors").read_bytes()).hexdigest(),
        "merges": _table(folder / "merges.csv"),
        "log": _table(folder / "logs" / "fit" / "metrics.csv"),
        "results": json.loads((folder / "results.json").read_text())["results"],
        "leftovers": sorted(path.name for path in folder.rglob(".*.tmp")),
    }


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        rows = [
            {name: value for name, value in row.items() if value and not _timed(name)} for row in csv.DictReader(lines)
        ]
    return [row for row in rows if row.keys() - {"step", "epoch"}]


def _timed(name: str) -> bool:
    return any(word in name for word in TIMED)


def serve() -> None:
    """Forks a run for each line of standard input, and answers how it ended."""
    import pandas  # noqa: F401
    import torch
    import transformers  # noqa: F401

    import mu_lightning.commands.lightning_cli  # noqa: F401

    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        job = json.loads(line)
        with tempfile.TemporaryFile() as output:
            started = time.monotonic()
            child = os.fork()
            if not child:
                _child(job, output.fileno())
            status = _wait(child, job, started)
            output.seek(0)
            said = output.read().decode(errors="replace")
        answers.write(json.dumps([status, time.monotonic() - started, said]) + "\n")
        answers.flush()


def _child(job: Mapping[str, Any], output: int) -> None:
    import cli

    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(job["cwd"])
    os.environ.update(job["environment"])
    if job["point"]:
        _signal_at(*points()[job["point"]], job["signal"])
    status = 1
    try:
        status = cli.main(job["arguments"])
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(child: int, job: Mapping[str, Any], started: float) -> int:
    sent = job["after"] is None
    while True:
        found, status = os.waitpid(child, 0 if sent else os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - started >= job["after"]:
            os.kill(child, job["signal"])
            sent = True
        time.sleep(0.002)


def _signal_at(module: str, attribute: str, count: int, number: int) -> None:
    """Sends the process a signal when a function is called for the `count`-th time."""
    import importlib

    owner: Any = importlib.import_module(module)
    *path, name = attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), number)
        return original(*arguments, **named)

    setattr(owner, name, counted)


def sweep(kills: int, seed: int, folder: Path, more: Sequence[str] = ()) -> list[str]:
    """Makes so many kills at seeded instants; gives a line for each run that ended otherwise than it should."""
    chance = random.Random(seed)
    wrong: list[str] = []
    with Runs() as runs:
        whole = runs.run(folder / "whole", *more)
        assert whole.status == 0, whole.said
        expected = result(folder / "whole")
        done = run = 0
        while done < kills:
            run += 1
            path = folder / f"run-{run}"
            instants: list[str] = []
            resume: list[str] = []
            while done < kills and len(instants) < 5:
                after = chance.uniform(0, whole.seconds * 1.1)
                ended = runs.run(path, *more, *resume, after=after)
                if ended.status == 2 and resume and "nothing to resume" in ended.said:
                    resume = []
                    continue
                if ended.status != -signal.SIGKILL:
                    if ended.status:
                        wrong.append(f"run {run} ended with {ended.status} before the kill: {ended.said[-500:]}")
                    break
                done += 1
                instants.append(f"{after:.2f} s")
                if (path / "results.json").exists():
                    break  # it had finished, and was only leaving
                resume = ["--resume"] if path.exists() else []
            try:
                if not (path / "results.json").exists():
                    runs.finish(path, *more)
                different = [name for name, value in expected.items() if result(path)[name] != value]
            except (AssertionError, OSError) as error:
                different = [f"it did not end: {error}"]
            if different:
                wrong.append(f"run {run}, killed after {', '.join(instants)}: {', '.join(different)}")
            else:
                shutil.rmtree(path)
            print(f"{done} of {kills} kills, {run} runs, {len(wrong)} of them wrong", flush=True)
    return wrong


def main() -> int:
    """Sweeps, and says what was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300, help="how often a run is killed, over all runs")
    parser.add_argument("--seed", type=int, default=0, help="decides the instants")
    parser.add_argument("--base", default=str(ROOT / "checkpoints" / "xlm-r-cldr"), help="what the members start from")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return 0
    with tempfile.TemporaryDirectory() as folder:
        wrong = sweep(arguments.kills, arguments.seed, Path(folder), ["--base", arguments.base])
    print("\n".join(wrong) or f"{arguments.kills} kills: every run ended as the undisturbed one")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
