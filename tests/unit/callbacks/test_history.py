"""The run's folder has what a schedule can be replayed over, and the merged models that are to be kept."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from mu_lightning.callbacks.history import History
from mu_lightning.callbacks.kept_merges import KeptMerges
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.schedules.history import read_history
from mu_lightning.schedules.replay import replay
from mu_lightning.schedules.schedules import EveryEpochs, EverySteps, Schedule
from mu_lightning.utilities.files import atomic_folder
from mu_lightning.utilities.listings import write_listing
from tests.conftest import merge_settings

WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}
KEY = "classifier.dense.weight"
Run = Callable[..., MergeCallback]


def save(folder: Path, target: str, state: Mapping[str, Tensor], history: Sequence[dict[str, Any]]) -> None:
    with atomic_folder(folder) as temporary:
        torch.save({KEY: state[KEY]}, temporary / "state.pt")
        (temporary / "index").write_text(f"{target} {history[-1]['index']}")
        write_listing(temporary)


@pytest.fixture
def run(joint: Any, data_module: Any, trainer: Any, tmp_path: Path) -> Run:
    """Trains with merges into ``tmp_path / "run"``: ``run(keep, epochs=4, schedule=..., others=...)``."""

    def go(
        keep: int = 1,
        epochs: int = 4,
        schedule: Schedule | None = None,
        others: Any = None,
        also: tuple[Any, ...] = (),
        fit: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> MergeCallback:
        merges = MergeCallback("af-ZA", WEIGHTS, schedule or EveryEpochs(1), merge_settings(**settings), others=others)
        folder = tmp_path / "run"
        watching = (History(merges, folder), KeptMerges(merges, folder, keep, save))
        fitting = trainer(epochs, merges, *watching, *also, enable_checkpointing=bool(also))
        fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)), **(fit or {}))
        return merges

    return go


def kept(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "run" / "merges").iterdir() if path.is_dir())


def best_of(merges: MergeCallback) -> str:
    after = [record["targets"]["af-ZA"]["after"] for record in merges.history]
    return f"{after.index(max(after)) + 1:04d}"


def test_the_history_file_is_what_the_callback_remembers(run: Run, tmp_path: Path) -> None:
    merges = run(schedule=EverySteps(5))
    found = json.loads((tmp_path / "run" / "history.json").read_text())
    assert found["targets"] == ["af-ZA"]
    assert found["epochs"] == merges.epochs
    assert found["merges"] == merges.history
    assert found["schedule"] == {"name": "every-steps", "n": 5}
    assert [record["step"] for record in merges.history] == [5, 10, 15, 20, 25, 30, 32]


def test_a_schedule_replayed_over_its_own_run_merges_where_the_run_did(run: Run, tmp_path: Path) -> None:
    from mu_lightning.schedules.parsing import build_schedule

    for place, text in enumerate(("every-epochs:n=3", "every-steps:n=7", "adaptive:start=1", "plateau+performance")):
        merges = run(schedule=build_schedule(text), epochs=5)
        again = replay(build_schedule(text), read_history(tmp_path / "run"))
        wanted = [(record["epoch"], record["step"], record["reason"]) for record in merges.history]
        assert [(record["epoch"], record["step"], record["reason"]) for record in again] == wanted, text
        assert all(record["recorded"] for record in again)
        assert place or wanted == [(3, 24, "every 3 epochs"), (5, 40, "end of training")]


@pytest.mark.parametrize("keep", [1, 2])
def test_the_last_models_and_the_best_are_kept(run: Run, tmp_path: Path, keep: int) -> None:
    merges = run(keep)
    last = ["0003", "0004"][-keep:]
    assert kept(tmp_path) == sorted({best_of(merges), *last})
    facts = json.loads((tmp_path / "run" / "merges" / "kept.json").read_text())
    assert facts == {"target": "af-ZA", "best": best_of(merges), "last": "0004", "kept": kept(tmp_path)}
    stored = torch.load(tmp_path / "run" / "merges" / "0004" / "state.pt", weights_only=True)
    assert torch.equal(stored[KEY], merges.merged[KEY])  # type: ignore[index]
    assert (tmp_path / "run" / "merges" / "0004" / "index").read_text() == "af-ZA 4"
    assert not list((tmp_path / "run" / "merges").glob(".*")), "a temporary is left behind"


def test_all_are_kept_if_asked_and_none_of_what_was_rolled_back(run: Run, tmp_path: Path) -> None:
    run(-1)
    assert kept(tmp_path) == ["0001", "0002", "0003", "0004"]


def test_what_others_put_among_the_merges_stays(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    merges = tmp_path / "run" / "merges"
    for name in ("0002", "2024-notes", "12"):
        (merges / name).mkdir(parents=True)
        (merges / name / "notes.txt").write_text(name)

    class Notes(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                (merges / "0001" / "notes.txt").write_text("0001")

    found = run(1, also=(Notes(),))
    assert {path.read_text() for path in merges.rglob("notes.txt")} == {"0001", "0002", "2024-notes", "12"}
    assert (merges / "0002-2" / "notes.txt").exists()
    assert {"0001", best_of(found), "0004"} <= set(kept(tmp_path))
    assert (merges / "0001" / "state.pt").exists(), "a folder that is kept is kept whole"
    assert "0002 is in the place of a merged model" in capsys.readouterr().out


def test_what_was_rolled_back_leaves_no_model(run: Run, tmp_path: Path) -> None:
    run(-1, tolerance=-1.1)
    assert not (tmp_path / "run" / "merges").exists()


def test_several_targets_have_a_folder_each_within_the_merges(run: Run, tmp_path: Path) -> None:
    merges = run(1, 1, others={"nl-NL": {"en-US": 1.0}})
    for target in ("af-ZA", "nl-NL"):
        stored = torch.load(tmp_path / "run" / "merges" / "0001" / target / "state.pt", weights_only=True)
        assert torch.equal(stored[KEY], merges.models[target][KEY])


def test_a_resumed_run_has_every_merge_once_and_the_same_models(run: Run, tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path / "ckpt", "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    whole = run(also=(saving,))
    models = {name: (tmp_path / "run" / "merges" / name / "state.pt").read_bytes() for name in kept(tmp_path)}
    written = json.loads((tmp_path / "run" / "history.json").read_text())
    point = {"ckpt_path": str(tmp_path / "ckpt" / "epoch=1.ckpt"), "weights_only": True}
    resumed = run(also=(ModelCheckpoint(tmp_path / "again"),), fit=point)
    assert [record["index"] for record in resumed.history] == [1, 2, 3, 4]
    assert best_of(resumed) == best_of(whole)
    assert {name: (tmp_path / "run" / "merges" / name / "state.pt").read_bytes() for name in kept(tmp_path)} == models
    again = json.loads((tmp_path / "run" / "history.json").read_text())
    for found in (written, again):
        for record in found["merges"]:
            record["seconds"] = 0
    assert again == written
