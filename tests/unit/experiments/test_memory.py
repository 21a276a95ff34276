"""What a run will take: counted from one member's costs, which are measured."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer

from mu_lightning.experiments.dry_run import describe
from mu_lightning.experiments.memory import Costs, phases, training_sizes, try_out
from mu_lightning.experiments.run_plan import RunPlan, plan_run
from mu_lightning.settings import DataSettings, LoraSettings, MergeSettings, ModelSettings
from mu_lightning.typology.plan import TypologySettings

COSTS = Costs(
    floor=1000, member=40, trained=40, shared=0, merged=30, token=0.5, scoring=7, train_kernels=0, eval_kernels=0,
    seen=(0, 0),
)  # fmt: skip


@pytest.fixture
def plan(tiny_base: Path, tmp_path: Path) -> Any:
    """Plans a run of the small corpus: ``plan(locales, **changes)``."""

    def make(locales: str, **changes: Any) -> RunPlan:
        given: dict[str, Any] = {
            "seed_everything": 0,
            "locales": [locales],
            "target_lang": "af-ZA",
            "target_languages": None,
            "num_languages": 2,
            "preweight": "uriel",
            "weights": None,
            "multilingual": False,
            "exclude": None,
            "all_leave_one_out": False,
            "compare": False,
            "models_dir": tmp_path / "models",
            "output_dir": tmp_path / "run",
            "resume": False,
            "ckpt_path": None,
            "enable_wandb": False,
            "data": DataSettings(corpus="small", batch_size=8),
            "model": ModelSettings(base=str(tiny_base)),
            "typology": TypologySettings(),
            "merge": MergeSettings(),
            "trainer": {},
        }
        return plan_run(Namespace(**{**given, **changes}))

    return make


def trainer(**arguments: Any) -> Trainer:
    return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **{"max_epochs": 2, **arguments})


def test_each_part_of_a_run_counts_what_it_holds(plan: Any) -> None:
    two, fitting = plan("nl-NL,de-DE"), trainer()
    training, scoring, merging = phases(two, COSTS, fitting)
    tokens, _ = training_sizes(two, two.data(two.members), fitting)
    assert training.parts == {
        "interpreter, libraries, texts": 1000,
        "weights": 80,
        "moments": 160,
        "merged models": 30,
        "gradients": 80,
        "activations": round(tokens / 2),
    }
    assert training.total == sum(training.parts.values())
    assert scoring.total == 1000 + 80 + 160 + 30 + 14
    assert merging.total == 1000 + 80 + 160 + 30 + 30 + 40 + 7


def test_what_is_asked_for_more_takes_more(plan: Any) -> None:
    def most(locales: str, **changes: Any) -> dict[str, int]:
        return {phase.name: phase.total for phase in phases(plan(locales, **changes), COSTS, trainer())}

    two = most("nl-NL,de-DE")
    assert most("nl-NL,de-DE,en-US")["training"] > two["training"]
    outer = most("nl-NL,de-DE", merge=MergeSettings(outer="nesterov"))
    assert outer["training"] == two["training"] + 60
    assert outer["merging"] == two["merging"] + 60 + 30
    assert set(most("nl-NL,de-DE", target_lang=None)) == {"training", "scoring"}
    compared = most("nl-NL,de-DE", compare=True)
    assert compared["training for comparison"] > compared["training"] + 80 + 4 * 40


def test_the_largest_step_is_that_of_the_very_batches(plan: Any) -> None:
    two, fitting = plan("nl-NL,de-DE"), trainer(max_epochs=3)
    data, largest, sizes = two.data(two.members), 0, set()
    for epoch in range(3):
        loader = data.train_dataloader()
        loader.set_epoch(epoch)
        for step in loader:
            tokens = [int(batch["attention_mask"].sum()) for batch in step.values()]
            largest, sizes = max(largest, sum(tokens)), sizes | set(tokens)
    assert training_sizes(two, data, fitting) == (largest, len(sizes))
    limited = training_sizes(two, data, trainer(max_epochs=3, limit_train_batches=2))
    assert limited[0] <= largest
    assert limited[1] <= 12


def test_a_member_that_is_tried_out_costs_what_its_tensors_are(plan: Any, tiny_base: Path) -> None:
    found = plan("nl-NL,de-DE")
    costs = try_out(found, trainer())
    member = found.joint(["nl-NL"]).member("nl-NL")
    size, buffers = (sum(one.nbytes for one in found) for found in (member.parameters(), member.buffers()))
    assert (costs.member, costs.trained, costs.shared) == (size + buffers, size, 0)
    assert costs.merged == sum(one.nbytes for one in member.merge_state().values())
    assert costs.floor > 100 * 2**20
    settings = ModelSettings(base=str(tiny_base), adapter="lora", lora=LoraSettings(r=2))
    adapted = try_out(plan("nl-NL,de-DE", model=settings), trainer())
    assert adapted.trained < adapted.shared
    assert adapted.member == adapted.trained == adapted.merged


def test_a_dry_run_tells_members_weights_steps_merges_files_and_memory(plan: Any, tmp_path: Path) -> None:
    text = describe(plan("nl-NL,de-DE"), {"accelerator": "cpu", "max_epochs": 3, "devices": 1})
    for expected in (
        "af-ZA (Afrikaans)",
        "2 members of tiny-0.0 on small",
        "of 400 pieces",
        "5 optimiser steps an epoch, batches of 8, 3 epochs",
        "merged by linear, schedule every-epochs: next merge after epoch 1; then members replace",
        f"writes to {tmp_path / 'run'}",
        "predicted peak memory: ",
        "private memory of each process",
        "interpreter, libraries, texts",
        "at other times: ",
    ):
        assert expected in text
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "models").exists()
