"""Ray: the same results as here on a real cluster of two workers, one of which is killed while it works."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest
import torch

import cli
from mu_lightning.approaches.evaluation_context import EvaluationContext, Scoring, prepare
from mu_lightning.approaches.tasks import Resources, RowTask
from mu_lightning.experiments.ray_cluster import connect
from mu_lightning.experiments.ray_workers import RayWorkers
from mu_lightning.experiments.workers import ThisProcess
from mu_lightning.results.store import read_store
from mu_lightning.utilities.errors import UserError

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # as `connect` sets it; Ray reads it when it is imported
ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
MODELS = ("de-DE", "en-US", "nl-NL")


@dataclass(frozen=True)
class Marked:
    """A row of the matrix whose worker says who it is and, the first time, waits to be killed."""

    row: RowTask
    folder: Path
    resources: Resources = field(default_factory=Resources)

    @property
    def name(self) -> str:
        return self.row.name

    def run(self, context: EvaluationContext) -> Any:
        first = not list(self.folder.glob(f"{self.row.source}-*"))
        (self.folder / f"{self.row.source}-{os.getpid()}").touch()
        if first and self.row.source == "en-US":
            time.sleep(60)
        return self.row.run(context)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    connect("local", 2)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.shutdown()


def kill_the_waiting_worker(folder: Path) -> None:
    while not (found := list(folder.glob("en-US-*"))):
        time.sleep(0.05)
    os.kill(int(found[0].name.rpartition("-")[2]), signal.SIGKILL)


def test_a_killed_workers_task_runs_again_and_all_results_are_those_of_this_process(
    cluster: None, models_dir: Path, tmp_path: Path
) -> None:
    models = {tag: models_dir / f"tiny_small_{tag}" for tag in MODELS}
    context = prepare(Scoring("small", batch_size=16), models, ["af-ZA", "nl-NL"])
    rows = [RowTask(tag, ("af-ZA", "nl-NL")) for tag in MODELS]
    expected = {task.source: outcome.value for task, outcome in ThisProcess().outcomes(context, rows)}  # type: ignore[attr-defined]
    killer = threading.Thread(target=kill_the_waiting_worker, args=(tmp_path,), daemon=True)
    killer.start()
    found = {
        task.name: outcome
        for task, outcome in RayWorkers("local", 2, "cpu").outcomes(context, [Marked(row, tmp_path) for row in rows])
    }
    killer.join(timeout=5)
    assert not killer.is_alive()
    assert len(list(tmp_path.glob("en-US-*"))) == 2  # the one that was killed, and the one that did it again
    for source, scored in expected.items():
        assert found[source].error == ""
        for locale, scores in scored.scores.items():
            assert found[source].value.scores[locale].predictions.tolist() == scores.predictions.tolist()
            assert found[source].value.scores[locale].accuracy == scores.accuracy


def test_a_sweep_on_ray_is_the_sweep_of_this_machine(cluster: None, models_dir: Path, tmp_path: Path) -> None:
    grid = ["--target-languages", "af-ZA", "--methods", "ties", "fisher", "--voting-methods", "soft", "--top-k", "51"]
    common = ["sweep", "--corpus", "small", "--models-dir", str(models_dir), *grid, "--num-languages", "2"]
    common += ["--num-fisher-examples", "3", "--max-workers"]
    assert cli.main([*common, "0", "--output-dir", str(tmp_path / "here")]) == 0
    assert cli.main([*common, "2", "--ray", "local", "--output-dir", str(tmp_path / "ray")]) == 0
    here, there = (read_store(tmp_path / name).cells for name in ("here", "ray"))
    assert [cell.folder.name for cell in here] == [cell.folder.name for cell in there]
    assert len(here) == 3
    for one, other in zip(here, there, strict=True):
        assert one.predictions().predictions.tolist() == other.predictions().predictions.tolist()


@dataclass(frozen=True)
class Threads:
    """Says how many threads its worker computes on, and what is left of the proxy that keeps Ray's head at home."""

    name: str
    resources: Resources

    def run(self, context: EvaluationContext) -> tuple[int, str]:
        return torch.get_num_threads(), os.environ.get("http_proxy", "")


def test_a_task_has_the_threads_that_it_asks_for_as_far_as_there_are(cluster: None) -> None:
    tasks = [Threads(str(count), Resources(threads=count)) for count in (1, 2, 99)]
    found = RayWorkers("local", 2, "cpu").outcomes(EvaluationContext({}, {}, {}, batch_size=1), tasks)
    assert {task.name: outcome.value for task, outcome in found} == {"1": (1, ""), "2": (2, ""), "99": (2, "")}


def test_a_cluster_of_this_machine_listens_on_the_loopback_interface_alone(cluster: None) -> None:
    addresses = []
    this = psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            addresses += [(process.name(), one.laddr) for one in process.net_connections() if one.status == "LISTEN"]
    assert len(addresses) > 4
    assert [one for one in addresses if not ip_address(one[1].ip.removeprefix("::ffff:")).is_loopback] == []
    assert "http_proxy" not in os.environ


def test_ray_that_would_listen_to_the_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Mock(**{"is_initialized.return_value": False, "util.get_node_ip_address.return_value": "192.0.2.7"})
    monkeypatch.setitem(sys.modules, "ray", fake)
    with pytest.raises(UserError, match="set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before Ray is imported"):
        connect("local")
    fake.shutdown.assert_called_once()


def test_an_error_in_a_task_is_its_outcome(cluster: None, models_dir: Path) -> None:
    context = prepare(Scoring("small"), {"nl-NL": models_dir / "tiny_small_nl-NL"}, ["af-ZA"])
    tasks = [RowTask("nl-NL", ("af-ZA",)), RowTask("xx-XX", ("af-ZA",))]
    found = {task.name: outcome for task, outcome in RayWorkers("local", 2).outcomes(context, tasks)}
    assert found["nl-NL"].error == ""
    assert found["xx-XX"].error == "KeyError: 'xx-XX'"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nowhere", "somewhere.invalid:6379"])
def test_an_address_that_cannot_be_reached_is_an_error_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    started = time.monotonic()
    with pytest.raises(UserError, match=address.rpartition("/")[2]):
        RayWorkers(address)
    assert time.monotonic() - started < 20


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"mu-lightning\[ray\]"):
        RayWorkers("local")
