"""Killed at any instant, `nxn` and `sweep` lose at most the cells in work, leave no process, and go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cli
from mu_lightning.checkpoints import load_base, load_tokenizer, save_model
from mu_lightning.data.cldr import CldrCorpus
from mu_lightning.results.matrix import read_nxn
from mu_lightning.results.store import read_store

ROOT = Path(__file__).parents[2]
MODELS = ("de-DE", "en-US", "nl-NL", "sv-SE")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tokenizer = load_tokenizer(tiny_base)
    for seed, tag in enumerate(MODELS):
        save_model(folder / f"tiny_cldr_{tag}", load_base(tiny_base, CldrCorpus.label_names, seed), tokenizer, {})
    return folder


def children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(path.parent.name))
    return found


def kill_once_there(arguments: list[str], there: Path, pattern: str, count: int) -> list[int]:
    """Runs the program and kills it with SIGKILL as soon as `count` results are there; returns its processes."""
    process = subprocess.Popen([sys.executable, str(ROOT / "cli.py"), *arguments], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while len(list(there.glob(pattern))) < count:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    started = children(process.pid)
    workers = [*started, *(worker for server in started for worker in children(server))]
    process.send_signal(signal.SIGKILL)
    process.wait()
    return workers


def gone(processes: list[int]) -> bool:
    """Whether the processes end, within some seconds."""
    for _ in range(200):
        alive = [one for one in processes if Path(f"/proc/{one}").exists() and not _zombie(one)]
        if not alive:
            return True
        time.sleep(0.1)
    return False


def _zombie(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_killed_matrix_keeps_its_rows_leaves_no_process_and_is_completed(models_dir: Path, tmp_path: Path) -> None:
    common = ["nxn", "--models-dir", str(models_dir), "--locales", "af-ZA,de-DE", "--output-dir"]
    workers = kill_once_there(
        [*common, str(tmp_path / "nxn"), "--max-workers", "2"], tmp_path, "nxn/rows/[!.]*/results.json", 1
    )
    assert len(workers) >= 2
    assert gone(workers)
    before = read_nxn(tmp_path / "nxn")
    assert before.damaged == {}
    assert len(MODELS) - len(before.missing) >= 1
    (tmp_path / "nxn" / "rows" / ".left.0000aaaa.tmp").mkdir()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "nxn").glob("rows/[!.]*/results.json")}
    assert cli.main([*common, str(tmp_path / "nxn"), "--max-workers", "1"]) == 0
    after = read_nxn(tmp_path / "nxn")
    assert after.missing == ()
    assert np.isfinite(after.accuracy).all()
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    kept = [row for row, name in enumerate(before.sources) if name not in before.missing]
    assert np.array_equal(before.accuracy[kept], after.accuracy[kept])
    assert not list((tmp_path / "nxn").rglob(".*.tmp"))


def test_a_killed_sweep_keeps_its_cells_and_is_completed(models_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "sweep"
    grid = ["--target-languages", "af-ZA", "--methods", "linear", "slerp", "--preweights", "equal", "uriel", "shuffled"]
    grid += ["--voting-methods", "soft", "--num-languages", "2", "--top-k", "51", "--seeds", "0", "1", "2", "3", "4"]
    common = ["sweep", "--models-dir", str(models_dir), *grid, "--max-workers", "1", "--output-dir", str(output)]
    kill_once_there(common, output, "*/[!.]*/results.json", 3)
    found = read_store(output)
    assert (found.damaged, found.failed) == ((), ())
    assert 3 <= len(found.cells) < 21
    (output / "af-ZA" / ".left.0000aaaa.tmp").mkdir()
    times = {cell.folder: (cell.folder / "results.json").stat().st_mtime_ns for cell in found.cells}
    assert cli.main(common) == 0
    after = read_store(output)
    assert (len(after.cells), after.damaged, after.failed) == (21, (), ())
    assert all((folder / "results.json").stat().st_mtime_ns == time for folder, time in times.items())
    assert not list(output.rglob(".*.tmp"))


def test_a_worker_that_dies_is_replaced(models_dir: Path, tmp_path: Path) -> None:
    import threading

    output = tmp_path / "nxn"
    killed = []

    def kill_a_worker() -> None:
        while not list(output.glob("rows/[!.]*/results.json")):
            time.sleep(0.005)
        for server in children(os.getpid()):
            for worker in children(server):
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)
                return

    killer = threading.Thread(target=kill_a_worker, daemon=True)
    killer.start()
    common = [
        "nxn",
        "--models-dir",
        str(models_dir),
        "--locales",
        "af-ZA,de-DE,nl-NL,en-US",
        "--output-dir",
        str(output),
    ]
    assert cli.main([*common, "--max-workers", "2"]) == 0
    killer.join(timeout=5)
    assert len(killed) == 1
    assert read_nxn(output).missing == ()
