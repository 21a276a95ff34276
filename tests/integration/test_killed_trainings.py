"""Killed while a cell trains, a sweep goes on from that cell's checkpoint and ends as the undisturbed one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import cli
from mu_lightning.results.store import StoredCell, read_store
from tests.integration.test_killed import kill_once_there

GRID = {
    "target_languages": ["af-ZA"],
    "seeds": [5],
    "num_languages": 2,
    "corpus": "cldr",
    "train_batch_size": 8,
    "limit_train": 64,
    "baselines": [],
    "approaches": [
        {"approach": "iterative", "merge": {"schedule": "every-epochs:n=2", "moments": "keep"}},
        {"approach": "one_shot", "method": "linear"},
    ],
}
Sweep = Callable[[str, int], list[str]]


@pytest.fixture
def sweep(tmp_path: Path, dropout_base: Path) -> Sweep:
    """The arguments of a sweep, by the name of its folder and its number of epochs."""

    def arguments(name: str, epochs: int) -> list[str]:
        grid = GRID | {"base_model": str(dropout_base), "trainer": {"max_epochs": epochs}}
        (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid), encoding="utf-8")
        folder = ["--output-dir", str(tmp_path / name), "--max-workers", "0"]
        return ["sweep", "--config", str(tmp_path / "grid.yaml"), *folder]

    return arguments


def cells_of(folder: Path) -> dict[str, StoredCell]:
    found = read_store(folder)
    assert (found.damaged, found.failed) == ((), ())
    return {cell.identity.digest: cell for cell in found.cells}


def test_it_goes_on_from_the_checkpoint_and_its_trainings_are_reproduced(
    sweep: Sweep, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(sweep("whole", 8)) == 0
    for training in ("iterative-*", "[0-9a-f]*"):  # the cell that merges while it trains, then a source model
        kill_once_there(sweep("killed", 8), tmp_path / "killed", f".runs/{training}/checkpoints/fit/epoch=3-*.json", 1)
    assert cells_of(tmp_path / "killed").keys() < cells_of(tmp_path / "whole").keys()
    assert cli.main(sweep("killed", 8)) == 0
    whole, killed = cells_of(tmp_path / "whole"), cells_of(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    assert len(whole) == 2
    for key, cell in whole.items():
        for mine, other in zip(cell.predictions(), killed[key].predictions(), strict=True):
            assert np.array_equal(mine, other)
    assert not (tmp_path / "killed" / ".runs").exists()
    merges = [next((tmp_path / name).glob("af-ZA/iterative-*/merges.csv")) for name in ("whole", "killed")]
    values = [pd.read_csv(path).filter(regex="^(?!.*seconds)") for path in merges]
    assert len(values[0]) == 4
    pd.testing.assert_frame_equal(*values, check_exact=True)
    shutil.rmtree(tmp_path / "killed" / "models")
    capfd.readouterr()
    assert cli.main(["reproduce", str(tmp_path / "killed"), "--max-workers", "0"]) == 0
    assert "2 of 2 results are identical" in capfd.readouterr().out
