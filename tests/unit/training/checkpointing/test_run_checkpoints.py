"""A checkpoint is whole or not there; damage and a full disk are told, and the older one is never touched."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mu_lightning.training.checkpointing import run_checkpoints
from mu_lightning.training.checkpointing.run_checkpoints import (
    BEFORE_MERGE,
    clear_orphans,
    last_checkpoint,
    manifest_of,
    prune,
    read_saved,
    saved_checkpoints,
    write_checkpoint,
)
from mu_lightning.training.checkpointing.same_run import check_same_run
from mu_lightning.utilities.errors import UserError


def save(folder: Path, number: int, reason: str = "interval") -> Path:
    facts = {"number": number, "epoch": number, "step": 10 * number, "merges": 0, "reason": reason}
    record = {**facts, "saved_at": 0.0, "finished": False, "config": {}}
    before = f"-before-merge={number}" if reason == BEFORE_MERGE else ""
    path = folder / f"epoch={number}-step={10 * number}{before}.ckpt"
    write_checkpoint({"state_dict": {"weight": torch.full((1000,), float(number))}, "run": record}, path)
    return path


def test_the_last_whole_checkpoint_is_gone_on_from_in_the_order_of_saving(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    save(tmp_path, 2)
    path = save(tmp_path, 10)
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert (found.path, found.step) == (path, 100)
    assert torch.load(path, weights_only=True)["state_dict"]["weight"][0] == 10


@pytest.mark.parametrize("damage", ["a flipped byte", "cut short", "no manifest"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_named(tmp_path: Path, damage: str) -> None:
    older, path = save(tmp_path, 1), save(tmp_path, 2)
    content = bytearray(path.read_bytes())
    if damage == "no manifest":
        path.with_suffix(".json").unlink()
    elif damage == "cut short":
        path.write_bytes(content[:-100])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(UserError, match="corrupt") as caught:
        last_checkpoint(tmp_path)
    assert path.name in str(caught.value)
    assert f"--resume --ckpt-path {older}" in str(caught.value)


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = save(tmp_path, 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"takes 4 kB and 3 kB are missing.*older checkpoints are valid"):
        save(tmp_path, 2)
    found = last_checkpoint(tmp_path)
    assert found is not None
    assert found.path == older


def test_a_disk_that_fills_up_while_saving_leaves_the_older_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = save(tmp_path, 1)

    class Full:
        def __init__(self, stream: Any) -> None:
            self.stream, self.room = stream, 2000

        def write(self, data: Any) -> int:
            self.room -= memoryview(data).nbytes
            if self.room < 0:
                raise OSError(28, "No space left on device")
            return int(self.stream.write(data))

        def flush(self) -> None:
            self.stream.flush()

    hashing = run_checkpoints._Hashing
    monkeypatch.setattr(run_checkpoints, "_Hashing", lambda stream: hashing(Full(stream)))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"the disk is full: .* are missing"):
        save(tmp_path, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([older.name, older.with_suffix(".json").name])
    assert last_checkpoint(tmp_path) is not None


def test_the_last_few_are_kept_and_those_before_merges_by_themselves(tmp_path: Path) -> None:
    for number in range(6):
        save(tmp_path, number, "before merge" if number % 2 else "interval")
    prune(tmp_path, 2)
    assert [saved.number for saved in saved_checkpoints(tmp_path)] == [2, 3, 4, 5]
    assert len(list(tmp_path.iterdir())) == 8


def test_a_copy_of_a_checkpoint_is_not_removed_with_the_checkpoint(tmp_path: Path) -> None:
    first = save(tmp_path, 1)
    for path in (first, manifest_of(first)):
        shutil.copy(path, path.with_stem("best"))
    for number in range(2, 5):
        save(tmp_path, number)
    prune(tmp_path, 1)
    assert {path.name for path in tmp_path.glob("*.ckpt")} == {"best.ckpt", "epoch=4-step=40.ckpt"}


def test_a_manifest_whose_checkpoint_never_got_its_name_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept, lost = save(tmp_path, 1), save(tmp_path, 2)
    lost.unlink()
    (tmp_path / "notes.json").write_text("{}")
    clear_orphans(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {kept.name, manifest_of(kept).name, "notes.json"}


@pytest.mark.parametrize(
    "harm", [{"number": "1"}, {"epoch": None}, {"config": []}, {"sha256": 5}, {"saved_at": 10**400}]
)
def test_a_manifest_of_other_types_is_none(tmp_path: Path, harm: dict[str, Any]) -> None:
    path = save(tmp_path, 1)
    facts = json.loads(manifest_of(path).read_text())
    assert read_saved(path) is not None
    for content in (json.dumps(facts | harm), json.dumps({**facts, **harm})[:-5], "[" * 10**5, ""):
        manifest_of(path).write_text(content)
        assert read_saved(path) is None
        with pytest.raises(UserError, match="its manifest is missing or invalid"):
            last_checkpoint(tmp_path)


def test_settings_that_differ_are_named_and_where_a_run_is_computed_may_differ() -> None:
    there = {"seed_everything": 0, "model": {"base": "a/tiny", "warmup": 0.1}, "trainer": {"devices": 1}, "merge": None}
    check_same_run({**there, "model": {"base": "b/tiny", "warmup": 0.1}, "trainer": {"devices": 2}}, there, Path("run"))
    with pytest.raises(UserError, match=r"model\.warmup \(0\.1 there, 0\.2 now\), seed_everything \(0 there, 1 now\)"):
        check_same_run({**there, "seed_everything": 1, "model": {"base": "tiny", "warmup": 0.2}}, there, Path("run"))
    with pytest.raises(UserError, match=r"tolerance \(None there, 0\.0 now\)"):
        check_same_run({"tolerance": 0.0}, {"tolerance": None}, Path("run"))
