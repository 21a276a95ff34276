"""A training run from its settings alone, as a worker process has them: quiet, resumable, with all that it gave."""

import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mu_lightning.approaches.fitted import export_and_score, write_outcome
from mu_lightning.settings import CheckpointSettings, DataSettings, MergeSettings, RunSettings
from mu_lightning.training.run import Trained, TrainingRun
from mu_lightning.training.run_plan import plan_run
from mu_lightning.utilities.errors import Interrupted, UserError

SOURCES = ("nl-NL", "de-DE")


@pytest.fixture
def settings(plan: Any) -> RunSettings:
    """Two epochs of two sources, merged for Afrikaans after each, with every checkpoint kept."""
    found: RunSettings = plan(
        target_lang="af-ZA",
        locales=SOURCES,
        output_dir=Path("run"),
        checkpoint=CheckpointSettings(keep=0),
        data=DataSettings(corpus="small", batch_size=8, max_length=32),
        trainer={"accelerator": "cpu", "max_epochs": 2, "log_every_n_steps": 1},
        callbacks={"dashboard": None},  # its pictures take longer than so small a training
    ).settings
    return found


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor.cpu(), other[name]) for name, tensor in one.items())


def trained(settings: RunSettings) -> Trained:
    with TrainingRun(plan_run(pickle.loads(pickle.dumps(settings))), quiet=True) as run:
        return run.train()


def test_a_training_gives_all_that_it_made_and_goes_on_to_the_same_from_any_checkpoint(
    settings: RunSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    found = trained(settings)
    assert capsys.readouterr().out == ""
    assert [record["epoch"] for record in found.history] == [1, 2]
    assert found.merged.keys() == {"af-ZA"}
    assert found.weights("af-ZA") == found.history[-1]["targets"]["af-ZA"]["weights"]
    assert found.supervision("af-ZA") == "none"
    assert same(found.classifier("af-ZA").merge_state(), found.merged["af-ZA"])
    assert same(found.member("nl-NL").merge_state(), found.merged["af-ZA"])  # members took the last merge's weights
    assert not Path("run/results.json").exists()

    saved = sorted(Path("run/checkpoints/fit").glob("epoch=1-*.ckpt"))
    again = trained(replace(settings, ckpt_path=str(saved[0])))
    assert [record["epoch"] for record in again.history] == [1, 2]
    assert same(again.merged["af-ZA"], found.merged["af-ZA"])
    with pytest.raises(UserError, match=r"merge.frequency \(1 there, 2 now\)"):
        TrainingRun(plan_run(replace(settings, resume=True, merge=MergeSettings(frequency=2))))


def test_what_decisions_look_at_is_told_and_what_only_watches_can_be_left_out(settings: RunSettings) -> None:
    without = {**settings.callbacks, "kept_merges": None}
    one_epoch = {**settings.trainer, "max_epochs": 1}
    found = trained(replace(settings, merge=MergeSettings(tolerance=1.0), trainer=one_epoch, callbacks=without))
    assert found.supervision("af-ZA") == "target-dev-labels"
    assert not Path("run/merges").exists()
    assert not Path("run/merges.html").exists()


def test_outside_its_context_a_run_trains_nothing(settings: RunSettings) -> None:
    run = TrainingRun(plan_run(settings))
    with pytest.raises(RuntimeError, match="inside the context"):
        run.train()
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("changes", "names", "models"),
    [
        ({}, ["iterative, linear, URIEL, every epoch"], ["merged"]),
        ({"multilingual": True}, ["one model on pooled data"], ["multilingual"]),
        (
            {"merge": MergeSettings(schedule="never")},
            ["source nl-NL", "source de-DE", "ensemble, uriel_logits, URIEL"],
            ["members/tiny-0.0_small_de-DE", "members/tiny-0.0_small_nl-NL"],
        ),
    ],
    ids=["merged", "joint", "never merged"],
)
def test_the_outcome_is_exported_scored_and_written(
    settings: RunSettings, changes: dict[str, Any], names: list[str], models: list[str]
) -> None:
    asked = replace(settings, trainer={**settings.trainer, "max_epochs": 1}, **changes)
    with TrainingRun(plan_run(asked), quiet=True) as run:
        found = run.train()
        results = export_and_score(run, found)
        write_outcome(run, found, results)
    assert [result.identity.label for result in results] == names
    assert {result.scores.locale for result in results} == {"af-ZA"}
    assert Path("run/results.json").exists()
    folders = {path.parent.relative_to("run").as_posix() for path in Path("run").rglob("model.safetensors")}
    assert sorted(folder for folder in folders if not folder.startswith("merges/")) == models


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Interrupted("SIGTERM", 143)])
def test_an_interrupted_run_can_be_gone_on_with_once_it_is_begun(settings: RunSettings, error: BaseException) -> None:
    def interrupted(begin: bool) -> None:
        with TrainingRun(plan_run(settings), quiet=True) as run:
            if begin:
                run._begin()
            raise error

    with pytest.raises(type(error)) as raised:
        interrupted(begin=False)
    assert not getattr(raised.value, "resumable", False)
    with pytest.raises(Interrupted, match="SIG") as raised:
        interrupted(begin=True)
    assert raised.value.resumable


def test_a_run_that_goes_on_saves_what_is_missing_and_refuses_what_is_half(settings: RunSettings) -> None:
    with TrainingRun(plan_run(settings), quiet=True) as run:
        run.train()
    Path("run/merged").mkdir()
    resumed = replace(settings, resume=True)
    with TrainingRun(plan_run(resumed), quiet=True) as run:
        export_and_score(run, run.train())
    weights = Path("run/merged/model.safetensors")
    content = weights.read_bytes()
    TrainingRun(plan_run(resumed))
    for harm in (lambda: weights.write_bytes(content[:100]), weights.unlink):
        harm()
        with pytest.raises(UserError, match=r"merged"):
            TrainingRun(plan_run(resumed))
    Path("run/checkpoints/run.json").write_text('{"config": []}')
    with pytest.raises(UserError, match=r"run.json is not the record of a run: config"):
        TrainingRun(plan_run(resumed))


def test_a_run_holds_its_folders_against_others(settings: RunSettings) -> None:
    run = TrainingRun(plan_run(settings), quiet=True)
    with TrainingRun(plan_run(settings), quiet=True):
        with pytest.raises(UserError, match=r"run is in use by process"), run:
            pytest.fail("the block must not run")
        assert [path.name for path in Path().iterdir()] == [".run.lock"]
    Path("run").mkdir()
    Path("run/results.json").touch()
    with pytest.raises(UserError, match="already holds a result"), run:
        pytest.fail("the block must not run")
