"""A run that is killed, wherever it is, goes on to the very result of a run that nobody disturbed."""

import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import kill_sweep  # noqa: E402

INSTANTS = 2


class Whole(NamedTuple):
    """The undisturbed run, and what starts others like it."""

    runs: kill_sweep.Runs
    base: tuple[str, str]
    seconds: float
    result: dict[str, Any]


@pytest.fixture(scope="module")
def whole(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder, base = tmp_path_factory.mktemp("whole") / "run", ("--base", str(tiny_base))
    with kill_sweep.Runs() as runs:
        ended = runs.run(folder, *base)
        assert ended.status == 0, ended.said
        yield Whole(runs, base, ended.seconds, kill_sweep.result(folder))


def assert_goes_on(whole: Whole, folder: Path) -> None:
    whole.runs.finish(folder, *whole.base)
    result = kill_sweep.result(folder)
    for what, expected in whole.result.items():
        assert result[what] == expected, what


def killed(whole: Whole, tmp_path: Path, share: float) -> tuple[kill_sweep.Ended, Path]:
    """A run that was killed after a share of the undisturbed one's time, and its folder."""
    for attempt in range(5):
        folder = tmp_path / f"run{attempt}"
        ended = whole.runs.run(folder, *whole.base, after=share * whole.seconds)
        if ended.status:
            break
        share *= 0.7  # the machine was slower while the undisturbed run was timed: this one was over before
    return ended, folder


@pytest.mark.parametrize("point", kill_sweep.points())
def test_a_run_that_is_killed_at_a_named_point_goes_on_as_if_nothing_had_been(
    whole: Whole, tmp_path: Path, point: str
) -> None:
    ended = whole.runs.run(tmp_path / "run", *whole.base, point=point)
    assert ended.status == -signal.SIGKILL, f"it never came {point}: {ended.said}"
    assert not (tmp_path / "run" / "results.json").exists()
    assert_goes_on(whole, tmp_path / "run")


@pytest.mark.parametrize("seed", range(INSTANTS))
def test_a_run_that_is_killed_at_any_instant_goes_on_as_if_nothing_had_been(
    whole: Whole, tmp_path: Path, seed: int
) -> None:
    ended, folder = killed(whole, tmp_path, random.Random(seed).uniform(0.1, 0.9))
    assert ended.status == -signal.SIGKILL, ended.said
    assert_goes_on(whole, folder)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_at_the_end_of_a_step_with_how_to_resume(
    whole: Whole, tmp_path: Path, number: int, status: int
) -> None:
    ended = whole.runs.run(tmp_path / "run", *whole.base, point="in a step", number=number)
    assert ended.status == status, ended.said
    assert "Traceback" not in ended.said
    assert "--resume" in ended.said.splitlines()[-1]
    assert_goes_on(whole, tmp_path / "run")


def test_a_slurm_job_is_requeued_at_the_end_of_a_step_and_goes_on_by_itself(whole: Whole, tmp_path: Path) -> None:
    names = ("NTASKS", "NTASKS_PER_NODE", "NNODES")
    job = {f"SLURM_{name}": "1" for name in names} | {f"SLURM_{name}ID": "0" for name in ("PROC", "LOCAL", "NODE")}
    job |= {"SLURM_JOB_NAME": "fit", "SLURM_JOB_ID": "4711", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    # As SLURM's own: it ends the job that it puts back into the queue.
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nkill -KILL $PPID\n')
    (tmp_path / "scontrol").chmod(0o755)
    folder = tmp_path / "run"
    ended = whole.runs.run(folder, *whole.base, point="in a step", number=signal.SIGUSR1, environment=job)
    assert ended.status == -signal.SIGKILL, ended.said
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    ended = whole.runs.run(folder, *whole.base, environment=job | {"SLURM_RESTART_COUNT": "1"})
    assert ended.status == 0, ended.said
    assert kill_sweep.result(folder) == whole.result
