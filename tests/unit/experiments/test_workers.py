"""Workers: tasks in order, on what they ask for; a worker that dies is replaced, and nothing waits for it."""

import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mu_lightning.approaches.evaluation_context import EvaluationContext
from mu_lightning.approaches.from_text.learning import HeldTensors
from mu_lightning.approaches.tasks import Outcome, Resources
from mu_lightning.experiments import workers
from mu_lightning.experiments.workers import Processes, ThisProcess, devices, local_workers
from mu_lightning.utilities.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))

from worker_tasks import CutFile, Ran, Sleep, Touch, Unpicklable

# Larger than a pipe: what a dead process no longer reads must keep nobody waiting.
BENCH = EvaluationContext({"large": HeldTensors({"weight": torch.zeros(1 << 18)})}, {}, {}, batch_size=1)
ALONE, DEVICE = Resources(threads=2), Resources(device=True)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is left in the system's folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert list(tmp_path.glob(".mu-lightning-workers*")) == []
    assert multiprocessing.active_children() == []


def overlap(one: Ran, other: Ran) -> bool:
    return one.began < other.ended and other.began < one.ended


def test_tasks_start_in_order_and_share_neither_cores_nor_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 2)
    wanted = {"a": DEVICE, "b": DEVICE, "d": ALONE, "e": Resources(), "f": Resources(threads=99)}
    tasks = [Sleep(name, resources) for name, resources in wanted.items()]
    together = [Sleep("waits", DEVICE, 100, until=tmp_path / "touched"), Touch(tmp_path / "touched")]
    after = [Unpicklable(), Sleep("long", seconds=1000)]
    outcomes = Processes(["cuda:0", "cuda:0"]).outcomes(BENCH, [*tasks, *together, *after])
    found = {}
    while len(found) < len(tasks) + 3:
        task, outcome = next(outcomes)
        found[task.name] = outcome
    began = time.monotonic()
    outcomes.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 100, "it waited for a task whose outcome nobody asks for"
    assert "pickle" in found["unpicklable"].error
    ran: dict[str, Ran] = {name: found[name].value for name in (*wanted, "waits")}
    assert ran["waits"].ended - ran["waits"].began < 100, "two tasks never ran side by side"
    assert sorted(wanted, key=lambda name: ran[name].began) == list(wanted)
    assert {one.device for one in ran.values()} == {"cuda:0"}
    assert not overlap(ran["a"], ran["b"])
    for name in ("d", "f"):
        assert not any(overlap(ran[name], ran[other]) for other in ran if other != name)
    # A worker counts its cores itself.
    assert ran["a"].threads == 1
    assert ran["d"].threads == min(2, len(os.sched_getaffinity(0)))
    assert ran["f"].threads == len(os.sched_getaffinity(0))


def kill_as_they_start(stop: threading.Event, count: int, killed: list[int]) -> None:
    while not stop.is_set() and len(killed) < count:
        for process in multiprocessing.active_children():
            if process.pid is not None and process.pid not in killed:
                time.sleep(0.05)  # by then its parent has taken note of it, and it has far from started
                killed.append(process.pid)
                process.kill()
        time.sleep(0.001)


@contextmanager
def killing(count: int) -> Iterator[list[int]]:
    """Kills the first processes that this one starts, at once."""
    stop, killed = threading.Event(), list[int]()
    killer = threading.Thread(target=kill_as_they_start, args=(stop, count, killed), daemon=True)
    killer.start()
    yield killed
    stop.set()
    killer.join()


def test_a_worker_that_dies_is_replaced_and_a_task_that_kills_its_workers_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "ATTEMPTS", 2)
    tasks = [Sleep("before"), CutFile(tmp_path / "file"), Sleep("after")]
    with killing(1) as killed:
        found = {task.name: outcome for task, outcome in Processes(["cpu"]).outcomes(BENCH, tasks)}
    assert len(killed) == 1
    assert list(found) == ["before", "cut", "after"]
    assert found["cut"].error.startswith("its worker died 2 times, the last time of SIGBUS (a file that it read")
    assert found["before"].error == found["after"].error == ""


class SlowToRead:
    """Takes its reader two seconds."""

    def __reduce__(self) -> tuple[Any, ...]:
        return time.sleep, (2,)


def test_workers_that_all_die_as_they_start_are_said() -> None:
    context: Any = replace(BENCH, models={**BENCH.models, "slow": SlowToRead()})
    with killing(99) as killed:
        outcomes = [outcome for _, outcome in Processes(["cpu"]).outcomes(context, [Sleep("a"), Sleep("b")])]
    line = "3 workers in a row died while they started, the last one of SIGKILL (is memory short?"
    assert len(killed) == 3
    assert [outcome.error.startswith(line) for outcome in outcomes] == [True, True]


def test_this_process_uses_the_threads_that_a_task_asks_for_and_gives_them_back() -> None:
    before = torch.get_num_threads()
    (first, second) = ThisProcess("meta").outcomes(BENCH, [Sleep("one", seconds=0), Sleep("two", ALONE, 0)])
    assert (first[1].value.threads, first[1].value.device) == (1, "meta")
    assert second[1].value.threads == min(2, workers.cores())
    assert torch.get_num_threads() == before


def test_no_task_starts_no_process() -> None:
    assert list(Processes(["cpu"]).outcomes(BENCH, [])) == []


def test_a_number_of_workers_and_a_device_are_as_they_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(workers, "cores", lambda: 3)
    assert isinstance(local_workers(0), ThisProcess)
    assert local_workers().devices == ["cpu"] * 3  # type: ignore[attr-defined]
    assert local_workers(1).devices == ["cpu"]  # type: ignore[attr-defined]
    for number, device, line in ((-1, "auto", "--max-workers is -1"), (1, "cuda", "there is no CUDA device here")):
        with pytest.raises(UserError, match=line):
            local_workers(number, device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert local_workers(3).devices == ["cuda:0", "cuda:1", "cuda:0"]  # type: ignore[attr-defined]
    assert devices("cuda:1") == ["cuda:1"]
    for device in ("tpu", "cuda:2", "cuda:x", "cpu:0", ""):
        with pytest.raises(UserError, match=f"--device {device}"):
            devices(device)


def test_an_outcome_is_empty_by_default() -> None:
    assert Outcome() == Outcome(None, "", "")
