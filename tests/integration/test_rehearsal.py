"""`fit --trainer.fast_dev_run` goes through a whole run on a few batches and keeps nothing."""

from pathlib import Path

import pytest

from mu_lightning.commands.program import main
from mu_lightning.data import registry


@pytest.mark.parametrize("value", ["true", "2"])
def test_a_rehearsal_keeps_nothing(
    corpus: object,
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    value: str,
) -> None:
    monkeypatch.setitem(registry.CORPORA, "small", lambda data_dir: corpus)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    quiet = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    what = ["--target-lang", "af-ZA", "--locales", "nl-NL,de-DE"] if value == "true" else ["--locales", "nl-NL"]
    command = ["fit", *what, "--corpus", "small", "--base", str(tiny_base), *quiet, "--data.max_length", "32"]
    assert main([*command, f"--trainer.fast_dev_run={value}"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("fast_dev_run: the whole run on a few batches")
    assert ("merge 1" in said) == (value == "true")
    assert list(tmp_path.iterdir()) == []
