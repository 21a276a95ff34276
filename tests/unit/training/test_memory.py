"""What a run will take: counted from one member's costs, which are measured."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer

from mu_lightning.models.cpu import bucket_size
from mu_lightning.settings import DataSettings, LoraSettings, MergeSettings, ModelSettings
from mu_lightning.training.dry_run import describe
from mu_lightning.training.memory import Costs, phases, training_sizes, try_out
from mu_lightning.training.run_plan import RunPlan

COSTS = Costs(
    floor=1000, member=40, trained=40, shared=0, merged=30, token=0.5, scoring=7, train_kernels=0, eval_kernels=0,
    seen=(0, 0),
)  # fmt: skip


@pytest.fixture
def merging(plan: Any) -> Any:
    """Plans merges for Afrikaans: ``merging(locales, **changes)``."""

    def make(locales: str, **changes: Any) -> RunPlan:
        given = {"target_lang": "af-ZA", "data": DataSettings(corpus="small", batch_size=8)}
        planned: RunPlan = plan(locales=[locales], **{**given, **changes})
        return planned

    return make


def trainer(**arguments: Any) -> Trainer:
    return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, **{"max_epochs": 2, **arguments})


def test_each_part_of_a_run_counts_what_it_holds(merging: Any) -> None:
    two, fitting = merging("nl-NL,de-DE"), trainer()
    training, scoring, after = phases(two, COSTS, fitting)
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
    assert after.total == 1000 + 80 + 160 + 30 + 30 + 40 + 7


def test_what_is_asked_for_more_takes_more(merging: Any, tiny_base: Path) -> None:
    def most(locales: str, **changes: Any) -> dict[str, int]:
        return {phase.name: phase.total for phase in phases(merging(locales, **changes), COSTS, trainer())}

    two = most("nl-NL,de-DE")
    assert most("nl-NL,de-DE,en-US")["training"] > two["training"]
    halved = most("nl-NL,de-DE", model=ModelSettings(base=str(tiny_base), moments_dtype="bfloat16"))
    assert halved["training"] == two["training"] - 80
    outer = most("nl-NL,de-DE", merge=MergeSettings(outer="nesterov"))
    assert outer["training"] == two["training"] + 60
    assert outer["merging"] == two["merging"] + 60 + 30
    assert set(most("nl-NL,de-DE", target_lang=None)) == {"training", "scoring"}
    compared = most("nl-NL,de-DE", compare=True)
    assert compared["training for comparison"] >= compared["training"] + 80 + 4 * 40
    assert compared["training on all sources together"] < compared["training for comparison"]


def test_the_largest_step_is_that_of_the_very_batches_of_as_many_members_as_there_are_threads(merging: Any) -> None:
    two, fitting = merging("nl-NL,de-DE"), trainer(max_epochs=3)
    looped = merging("nl-NL,de-DE", model=replace(two.settings.model, execution="loop"))
    data, longest, both, padded, sizes = two.data(two.members), 0, 0, 0, set()
    for epoch in range(3):
        loader = data.train_dataloader()
        loader.set_epoch(epoch)
        for step in loader:
            tokens = [bucket_size(int(batch["attention_mask"].sum())) for batch in step.values()]
            longest, both, sizes = max(longest, *tokens), max(both, sum(tokens)), sizes | set(tokens)
            padded = max(padded, sum(batch["input_ids"].numel() for batch in step.values()))
    assert training_sizes(two, data, fitting) == (longest, len(sizes))
    assert training_sizes(looped, data, fitting)[0] == padded > both
    torch.set_num_threads(2)
    try:
        assert training_sizes(two, data, fitting) == (both, len(sizes))
    finally:
        torch.set_num_threads(1)
    limited = training_sizes(two, data, trainer(max_epochs=3, limit_train_batches=2))
    assert limited[0] <= longest
    assert limited[1] <= 12


def test_a_member_that_is_tried_out_costs_what_its_tensors_are(merging: Any, tiny_base: Path) -> None:
    found = merging("nl-NL,de-DE")
    costs = try_out(found, trainer())
    member = found.joint(["nl-NL"]).member("nl-NL")
    size, buffers = (sum(one.nbytes for one in found) for found in (member.parameters(), member.buffers()))
    assert (costs.member, costs.trained, costs.shared) == (size + buffers, size, 0)
    assert costs.merged == sum(one.nbytes for one in member.merge_state().values())
    assert costs.floor > 100 * 2**20
    settings = ModelSettings(base=str(tiny_base), adapter="lora", lora=LoraSettings(r=2))
    adapted = try_out(merging("nl-NL,de-DE", model=settings), trainer())
    assert adapted.trained < adapted.shared
    assert adapted.member == adapted.trained == adapted.merged


def test_a_dry_run_tells_members_weights_steps_merges_files_and_memory(merging: Any, tmp_path: Path) -> None:
    text = describe(merging("nl-NL,de-DE", trainer={"accelerator": "cpu", "max_epochs": 3}))
    for expected in (
        "af-ZA (Afrikaans)",
        "2 members of tiny-0.0 on small",
        "of 400 tokens",
        "5 optimizer steps an epoch, batches of 8, 3 epochs",
        "merged by linear, schedule every-epochs: next merge after epoch 1; then members replace",
        "writes to runs/tiny-0.0_small_af-ZA",
        "predicted peak memory: ",
        "private memory of each process",
        "interpreter, libraries, texts",
        "at other times: ",
    ):
        assert expected in text
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "models").exists()
