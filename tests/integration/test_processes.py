"""Two devices of this machine, as two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pandas
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


TWO = ["--config", str(ROOT / "configs" / "trainer" / "ddp2.yaml"), "--trainer.accelerator", "cpu"]


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    alone = finish(tmp_path / "alone", "--max-epochs", "2")
    both = finish(tmp_path / "both", *TWO, "--max-epochs", "2")
    assert alone.keys() == both.keys()
    # The gradients are summed in another order; nothing else differs.
    assert max(float((alone[name] - both[name]).abs().max()) for name in alone) < 1e-4
    # One process writes for both.
    tables = [logged(tmp_path / name) for name in ("alone", "both")]
    assert tables[0]["step"].tolist() == tables[1]["step"].tolist()
    assert [(table["memory/process_0_gib"] > 0.05).sum() for table in tables] == [5, 5]
    assert (tables[1]["memory/process_1_gib"] > 0.05).sum() == 5


def test_two_processes_round_moments_alike(tmp_path: Path) -> None:
    rounded = ["--model.moments_dtype", "bfloat16", "--max-epochs", "1"]
    alone = finish(tmp_path / "alone", *rounded)
    both = finish(tmp_path / "both", *TWO, *rounded)  # a merge fails where the processes' weights differ
    # Moments that lie at a bound are rounded the other way where gradients are summed in another order.
    assert max(float((alone[name] - both[name]).abs().max()) for name in alone) < 1e-3
