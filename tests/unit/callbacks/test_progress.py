"""The progress line names epoch, members, next merge and time left, on a terminal and in a log file."""

import io
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from mu_lightning.callbacks.merge import MergeCallback
from mu_lightning.callbacks.progress import Progress

from mu_lightning.schedules.schedules import EveryEpochs
from mu_lightning.settings import MergeSettings

WEIGHTS = {"en-US": 0.5, "nl-NL": 0.5}
TIME = r"\d+ (s|min \d+ s)"


@pytest.fixture
def run(joint: Any, data_module: Any, trainer: Any) -> Callable[..., None]:
    """Three epochs, merged after each second one."""

    def go(progress: Progress, merged: bool = True, epochs: int = 3) -> None:
        merges = [MergeCallback("af-ZA", WEIGHTS, EveryEpochs(2), MergeSettings())] if merged else []
        fitting = trainer(epochs, *merges, progress, enable_progress_bar=True, limit_val_batches=1.0)
        fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
        fitting.print("beside the bar")

    return go


def test_a_log_file_has_a_line_an_epoch(run: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    run(Progress())
    lines = capsys.readouterr().out.splitlines()
    wanted = (
        r"epoch 1 of 3, next merge after epoch 2, en-US nl-NL; 8 batches an epoch",
        rf"epoch 1 of 3 done, {TIME} left, next merge after epoch 2, en-US nl-NL; loss \d\.\d+",
        rf"epoch 2 of 3 done, {TIME} left, next merge after epoch 3, en-US nl-NL; loss \d\.\d+",
        r"epoch 3 of 3 done, 0 s left, no further merge, en-US nl-NL; loss \d\.\d+",
        "beside the bar",
    )
    assert len(lines) == len(wanted), lines
    for line, pattern in zip(lines, wanted, strict=True):
        assert re.fullmatch(pattern, line), line


def test_long_epochs_have_lines_in_between(run: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    run(Progress(seconds=0), epochs=1)
    between = [line for line in capsys.readouterr().out.splitlines() if "; batch " in line]
    assert len(between) == 8
    assert re.fullmatch(
        rf"epoch 1 of 1, {TIME} left, next merge after epoch 1, en-US nl-NL; batch 3 of 8; loss \d\.\d+", between[2]
    )


def test_without_merges_none_is_named(run: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    run(Progress(), merged=False, epochs=1)
    assert "merge" not in capsys.readouterr().out


def test_a_terminal_has_a_bar_and_no_lines(run: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    class Lively(Progress):
        def init_train_tqdm(self) -> Any:
            bar = super().init_train_tqdm()
            bar.mininterval = 0  # else so short a run is shown once
            return bar

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    run(Lively())
    shown = terminal.getvalue()
    assert re.search(rf"[3-8]/8 \|.{{12}}\| epoch 2 of 3, {TIME} left, next merge after epoch 2, en-US nl-NL", shown)
    assert "scoring nl-NL, dev split" in shown
    assert "v_num" not in shown
    assert "done" not in shown
    assert "beside the bar" in shown
