"""Every argument of Lightning's Trainer works in a run as in Lightning, or is refused before anything is written."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer

from mu_lightning.settings import DataSettings
from mu_lightning.settings.trainer import UNSUPPORTED, UNSUPPORTED_IN_EVALUATION, refuse_unsupported
from mu_lightning.training.run import Trained, TrainingRun
from mu_lightning.utilities.errors import UserError

# Values of one argument that a run works with. An argument of a later Lightning fails the test below until it is here
# or in UNSUPPORTED.
WORKS: dict[str, list[Any]] = {
    "limit_train_batches": [1, 0.7],
    "limit_val_batches": [0, 1, 0.5],
    "overfit_batches": [1],
    "val_check_interval": [1],
    "max_steps": [1],
    "num_sanity_val_steps": [1],
    "accumulate_grad_batches": [3],
    "logger": [False, True],
    "precision": ["64-true"],
}
EACH = [(name, value) for name, values in WORKS.items() for value in values]
TOGETHER: dict[str, Any] = {
    "accelerator": "auto",
    "strategy": "auto",
    "devices": "1",
    "num_nodes": 1,
    "callbacks": {"class_path": "lightning.pytorch.callbacks.Timer"},
    "max_epochs": 2,
    "min_epochs": 1,
    "min_steps": 1,
    "max_time": "00:01:00:00",
    "check_val_every_n_epoch": 2,
    "log_every_n_steps": 0,
    "enable_progress_bar": False,
    "enable_model_summary": True,
    "gradient_clip_val": 0.1,
    "gradient_clip_algorithm": "value",
    "deterministic": "warn",
    "benchmark": True,
    "inference_mode": False,
    "profiler": "simple",
    "detect_anomaly": True,
    "plugins": [],
    "sync_batchnorm": True,
    "reload_dataloaders_every_n_epochs": 1,
    "enable_autolog_hparams": False,
}
ELSEWHERE = {"fast_dev_run"}  # test_rehearsal.py


class Batches(Callback):
    """Counts batches and notes the accuracies that are logged."""

    def __init__(self) -> None:
        self.train = 0
        self.val: list[int] = []
        self.epochs: list[list[str]] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.train += 1
        self.epochs[-1].append(str(batch["nl-NL"]["labels"].tolist()))

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.epochs.append([])

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.val.append(len(pl_module._collector._parts["", "nl-NL"]))


@pytest.fixture
def trained(plan: Any) -> Any:
    """Trains Dutch on 24 rows in batches of 8: ``trained(max_epochs=2)``."""

    def train(**trainer: Any) -> tuple[Trained, Batches]:
        counted = Batches()
        given = trainer.pop("callbacks", [])
        arguments = {"accelerator": "cpu", "max_epochs": 1, **trainer}
        arguments["callbacks"] = [*(given if isinstance(given, list) else [given]), counted]
        found = plan(
            locales=("nl-NL",),
            output_dir=Path("run"),
            data=DataSettings(corpus="small", batch_size=8, limit_train=24, max_length=32),
            trainer=arguments,
        )
        with TrainingRun(found, quiet=True) as run:
            result = run.train()
        used = next(one for one in result.trainer.callbacks if isinstance(one, Batches))  # type: ignore[attr-defined]
        return result, used

    return train


def test_every_argument_is_in_one_of_the_tables() -> None:
    known = inspect.signature(Trainer.__init__).parameters.keys() - {"self"}
    assert WORKS.keys() | TOGETHER.keys() | UNSUPPORTED.keys() | ELSEWHERE == known
    assert UNSUPPORTED_IN_EVALUATION.keys() <= known


@pytest.mark.parametrize(("name", "value"), EACH, ids=[f"{name}={value}" for name, value in EACH])
def test_a_run_does_with_it_what_lightning_does(trained: Any, name: str, value: Any) -> None:
    result, batches = trained(**{name: value})
    dev = len(result.data.eval_loaders("dev")["nl-NL"])
    train, evaluated, times = 3, dev, 1  # of 24 rows by 8
    if name in ("limit_train_batches", "overfit_batches", "max_steps"):
        train = 1 if value == 1 else 2
    if name in ("limit_val_batches", "overfit_batches"):
        evaluated, times = (int(value * dev) if isinstance(value, float) else value), int(value > 0)
    if name == "val_check_interval":
        times = 3
    assert (batches.train, batches.val) == (train, [evaluated] * times)
    assert Path("run/logs").is_dir() == (value is not False)


def test_those_that_change_no_batch_work_together(trained: Any) -> None:
    result, batches = trained(**TOGETHER)
    assert (batches.train, len(batches.val)) == (6, 1)
    assert result.trainer.state.finished


def test_overfitting_repeats_the_batches_of_the_first_epoch(trained: Any) -> None:
    _, batches = trained(overfit_batches=2, max_epochs=2)
    assert batches.epochs[0] == batches.epochs[1]
    assert len(batches.epochs[0]) == 2


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"limit_train_batches": 0}, "trainer.limit_train_batches is 0: expected more"),
        ({"limit_train_batches": 0.01}, "trainer.limit_train_batches is 0.01: that is no batch of the"),
        ({"limit_val_batches": 0.001}, "trainer.limit_val_batches is 0.001: that is no batch of the"),
        ({"val_check_interval": 50}, "trainer.val_check_interval is 50, but an epoch has"),
        ({"default_root_dir": "x"}, "trainer.default_root_dir is 'x', which is not supported: use --output-dir"),
        ({"enable_checkpointing": False}, "trainer.enable_checkpointing is False, which is not supported"),
        ({"barebones": True}, "trainer.barebones is True"),
        ({"model_registry": "x"}, "trainer.model_registry is 'x'"),
        ({"use_distributed_sampler": True}, "trainer.use_distributed_sampler is True"),
        ({"limit_test_batches": 1}, "trainer.limit_test_batches is 1, which is not supported: results are of all rows"),
        ({"limit_predict_batches": 0.5}, "trainer.limit_predict_batches is 0.5"),
        ({"max_time": "soon"}, "trainer: "),
        ({"plugins": {"class_path": "lightning.pytorch.plugins.TorchCheckpointIO"}}, "checkpoint_io: null"),
        ({"fast_dev_run": True}, "rehearsal"),
    ],
)
def test_what_does_not_work_is_refused_before_anything_is_written(
    plan: Any, trainer: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan(locales="nl-NL", trainer={"accelerator": "cpu", **trainer})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("name", UNSUPPORTED_IN_EVALUATION)
def test_an_evaluation_is_of_all_rows(name: str) -> None:
    refuse_unsupported(
        {one: accepted[-1] for one, (accepted, _) in UNSUPPORTED_IN_EVALUATION.items()}, UNSUPPORTED_IN_EVALUATION
    )
    with pytest.raises(UserError, match=f"trainer.{name} is 1, which is not supported"):
        refuse_unsupported({name: 1}, UNSUPPORTED_IN_EVALUATION)


def test_an_allocation_of_slurm_is_refused_in_lightnings_words_or_a_run_starts(
    plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("JOB_NAME", "train"), ("JOB_ID", "7"), ("PROCID", "0"), ("LOCALID", "0"), ("NODEID", "0")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SLURM_NODELIST", "node1")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(UserError, match="trainer: You set `--ntasks=2` in your SLURM bash script"):
        plan(locales="nl-NL")
    monkeypatch.setenv("SLURM_NTASKS", "1")
    plan(locales="nl-NL")
