"""What needs processes of its own: two devices, a kill and a resumption, Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
SMALL = ["--target-lang", "af-ZA", "--locales", "nl-NL,de-DE", "--data.limit_train", "160"]
SMALL += ["--trainer.log_every_n_steps", "2", "--model.base"]


def start(folder: Path, *more: str) -> "subprocess.Popen[str]":
    """Starts a small run with merges in `folder`."""
    base = str(ROOT / "checkpoints" / "xlm-r-cldr")
    arguments = ["fit", *SMALL, base, "--output-dir", str(folder), "--trainer.enable_progress_bar", "false", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=folder.parent,
        # Under a shell's background job Ctrl-C is ignored, and a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(folder: Path, *more: str) -> dict[str, torch.Tensor]:
    """Runs it to its end; the merged model's weights."""
    process = start(folder, *more)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    return load_file(folder / "merged" / "model.safetensors")


def logged(folder: Path) -> pandas.DataFrame:
    """The run's log of steps."""
    return pandas.read_csv(folder / "logs" / "fit" / "metrics.csv")


def wait_for(process: "subprocess.Popen[str]", text: str) -> None:
    """Reads the run's output up to a line with `text`."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the run ended without saying '{text}'")


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    alone = finish(tmp_path / "alone", "--max-epochs", "2")
    config = str(ROOT / "configs" / "trainer" / "ddp2.yaml")
    both = finish(tmp_path / "both", "--config", config, "--max-epochs", "2", "--trainer.accelerator", "cpu")
    assert alone.keys() == both.keys()
    # The gradients are summed in another order; nothing else differs.
    assert max(float((alone[name] - both[name]).abs().max()) for name in alone) < 1e-4
    # One process writes for both.
    tables = [logged(tmp_path / name) for name in ("alone", "both")]
    assert tables[0]["step"].tolist() == tables[1]["step"].tolist()
    assert [(table["memory/process_0_gib"] > 0.05).sum() for table in tables] == [5, 5]
    assert (tables[1]["memory/process_1_gib"] > 0.05).sum() == 5


def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    undisturbed = finish(tmp_path / "undisturbed", "--max-epochs", "4")
    process = start(tmp_path / "killed", "--max-epochs", "4")
    wait_for(process, "merge 2 ")
    time.sleep(0.3)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "results.json").exists()
    resumed = finish(tmp_path / "killed", "--max-epochs", "4", "--resume")
    assert all(torch.equal(undisturbed[name], resumed[name]) for name in undisturbed)
    tables = [(tmp_path / name / "merges.csv").read_text().splitlines() for name in ("undisturbed", "killed")]
    drop = tables[0][0].split(",").index("merge/seconds")
    without_time = [[line.split(",")[:drop] + line.split(",")[drop + 1 :] for line in table] for table in tables]
    assert without_time[0] == without_time[1]
    steps = [logged(tmp_path / name) for name in ("undisturbed", "killed")]
    same = [column for column in steps[0] if not column.startswith(("speed/", "memory/"))]
    pandas.testing.assert_frame_equal(steps[0][same], steps[1][same])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_ends_with_130_and_one_line(tmp_path: Path) -> None:
    process = start(tmp_path / "run", "--max-epochs", "50")
    wait_for(process, "merge 1 ")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output
    assert "--resume" in output
    assert not (tmp_path / "run" / "merged").exists()
