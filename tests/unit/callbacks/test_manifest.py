"""What ran is written down before it runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from mu_lightning.callbacks.manifest import Manifest


def test_it_is_there_before_the_first_step_with_configuration_versions_seed_and_data(
    joint: Any, data_module: Any, trainer: Any, tmp_path: Path, corpus: Any
) -> None:
    class Stop(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            raise ArithmeticError

    members = {"west": ("de-DE", "nl-NL"), "en-US": ("en-US",)}
    fitting = trainer(1, Manifest(tmp_path, {"data": {"corpus": "small"}, "seed_everything": 4}), Stop())
    with pytest.raises(ArithmeticError):
        fitting.fit(joint(list(members), seed=4), datamodule=data_module(members, seed=4))
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["config"] == {"data": {"corpus": "small"}, "seed_everything": 4}
    assert manifest["seed"] == 4
    assert manifest["members"] == {"west": ["de-DE", "nl-NL"], "en-US": ["en-US"]}
    assert manifest["devices"] == {"kind": "cpu", "processes": 1}
    assert {"mu-lightning", "python", "torch", "lightning", "transformers"} <= set(manifest["versions"])
    assert list(manifest["fingerprints"]) == ["de-DE", "en-US", "nl-NL"]
    for locale, splits in manifest["fingerprints"].items():
        assert splits == {split: corpus.rows(locale, split).fingerprint for split in ("train", "dev")}


def test_the_fingerprint_is_of_the_rows_as_they_were_used(
    joint: Any, data_module: Any, trainer: Any, tmp_path: Path, corpus: Any
) -> None:
    data = data_module(["nl-NL"], limit_train=9)
    trainer(1, Manifest(tmp_path, {})).fit(joint(["nl-NL"]), datamodule=data)
    found = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))["fingerprints"]["nl-NL"]
    assert found["train"] == data.rows("nl-NL", "train").fingerprint != corpus.rows("nl-NL", "train").fingerprint
