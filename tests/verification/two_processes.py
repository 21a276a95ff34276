"""What `test_processes_agree.py` starts twice: rank 0 writes the weights and scores of a few joint runs to a file.

python two_processes.py BASE OUTPUT CASE...
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger

sys.path.insert(0, str(Path(__file__).parents[2]))
from mu_lightning.callbacks.merge import MergeCallback

from mu_lightning.checkpoints import load_base, load_tokenizer
from mu_lightning.data.module import IntentDataModule
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.joint import JointClassifier
from mu_lightning.schedules.parsing import schedule_of
from mu_lightning.settings import MergeSettings
from mu_lightning.training.agreement import check_agreement
from mu_lightning.training.distributed import JointDDPStrategy
from tests.conftest import DATA, MODEL, SmallCorpus

WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}
CASES: dict[str, dict[str, Any]] = {
    "joint": {},
    "in turns": {"members_in_memory": 2},
    "accumulated": {"accumulate_grad_batches": 2},
    "pulled between steps": {
        "merging": MergeSettings(schedule="every-steps:n=3", sync="pull", moments="reset", learning_rate="rewarm")
    },
    "outer step, adaptive": {
        "merging": MergeSettings(
            schedule="adaptive:start=1+performance", outer="nesterov", reweight="target-dev", tolerance=0.05
        )
    },
    "own weights kept": {"merging": MergeSettings(sync="none")},
}


class Logged(Logger):
    """Notes the losses that are logged at each optimizer step."""

    name, version = "logged", 0

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Notes nothing."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Notes losses."""
        found = {name: value for name, value in metrics.items() if name.startswith("train/loss")}
        if found:
            self.losses.append(found)


def run(
    base: Path,
    devices: int,
    members_in_memory: int = 0,
    merging: MergeSettings = MergeSettings(),  # noqa: B008
    **arguments: Any,
) -> dict[str, Any]:
    """Trains three uneven members with merges; their weights, their dev predictions and the merge's scores."""
    corpus = SmallCorpus()
    settings = replace(MODEL, members_in_memory=members_in_memory)
    members = {name: IntentClassifier(load_base(base, corpus.label_names, 0)) for name in WEIGHTS}
    module = JointClassifier(members, settings, seed=0)
    data = IntentDataModule(corpus, load_tokenizer(base), DATA, {name: (name,) for name in WEIGHTS}, seed=0)
    logged = Logged()
    merges = MergeCallback("af-ZA", WEIGHTS, schedule_of(merging), merging)
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=JointDDPStrategy() if devices > 1 else "auto",
        max_epochs=2,
        gradient_clip_val=0.5,
        callbacks=[merges],
        log_every_n_steps=1,
        logger=logged,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **arguments,
    )
    trainer.fit(module, datamodule=data)
    # Raises where the processes differ in a bit, whatever members took over.
    members_now = {name: module.member(name).merge_state() for name in WEIGHTS}
    check_agreement({**members_now, **merges.models}, "at the end")
    told = ("index", "epoch", "step", "reason", "committed", "sync")
    return {
        "merges": [{key: record[key] for key in told} for record in merges.history],
        "weights": {name: module.member(name).merge_state() for name in WEIGHTS},
        "rows": {name: scores.ids.tolist() for name, scores in module.scores.items()},
        "predictions": {name: scores.predictions.tolist() for name, scores in module.scores.items()},
        "steps": trainer.global_step,
        "losses": logged.losses,
    }


if __name__ == "__main__":
    base, output, *cases = sys.argv[1:]
    torch.set_num_threads(1)
    found = {case: run(Path(base), devices=2, **CASES[case]) for case in cases}
    if torch.distributed.get_rank() == 0:
        torch.save(found, output)
