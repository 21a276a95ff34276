"""Predicts the peak memory of a run from measurements with a few members.

The memory of models, gradients and moments is computed. The memory of activations, interpreter, libraries and compiled
kernels is measured while as many members as run concurrently train on the longest batches, one is evaluated, and after
they have been released.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer

from mu_lightning.data.batching import BatchSize, EvalRows
from mu_lightning.data.encoding import EncodedRows, concatenate, padded_width
from mu_lightning.data.module import IntentDataModule
from mu_lightning.data.turns import Turns
from mu_lightning.evaluation.loop import moved, packed
from mu_lightning.models.cpu import bucket_size
from mu_lightning.training.fitting import stacked
from mu_lightning.training.members import POOLED
from mu_lightning.training.run_plan import RunPlan
from mu_lightning.utilities.process_memory import PeakMemory, private_memory, release_memory
from mu_lightning.utilities.progress import progress

# Number of batch sizes for training, and of locales for evaluation, to measure.
TRIED, TRIED_LOCALES = 12, 3
# Number of longest batches, and steps on each, for measuring peak memory.
LONGEST, WATCHED = 4, 16
# Size of oneDNN's kernel cache; each train batch size needs 12 kernels (by ONEDNN_VERBOSE), each evaluation size 9.
KERNELS = 1024
KERNELS_TO_TRAIN, KERNELS_TO_SCORE = 12, 9


@dataclass(frozen=True)
class Costs:
    """Measured memory, in bytes.

    Attributes:
        floor: the process without members.
        member: tensors of a member, without shared ones.
        trained: trained tensors of a member: gradients need as much, moments twice as much, or as much in bfloat16.
        shared: tensors shared by all members.
        merged: tensors that are merged.
        token: activations per token of a train batch.
        scoring: evaluation of a member, including packed weights.
        train_kernels: compiled kernels per size of train batches.
        eval_kernels: compiled kernels per size of evaluation batches.
        seen: number of train and evaluation batch sizes whose kernels are included in the floor.
    """

    floor: int
    member: int
    trained: int
    shared: int
    merged: int
    token: float
    scoring: int
    train_kernels: float
    eval_kernels: float
    seen: tuple[int, int]


@dataclass(frozen=True)
class Phase:
    """Peak memory of a phase of the run, in bytes by component."""

    name: str
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Total."""
        return sum(self.parts.values())


def phases(plan: RunPlan, costs: Costs, trainer: Trainer) -> list[Phase]:
    """Predicts the peak memory of each phase of the run on the members' device.

    Args:
        plan: the run.
        costs: result of `try_out`.
        trainer: the trainer. On a GPU, CPU memory is not counted.
    """
    device = trainer.strategy.root_device
    count, targets, merging = len(plan.members), len(plan.targets) if plan.merges else 0, plan.settings.merge
    on_cpu = device.type == "cpu"
    present = count if on_cpu else min(plan.settings.model.members_in_memory or count, count)
    outer = 2 * costs.merged if targets and merging.outer != "none" else 0

    largest, sizes = training_sizes(plan, plan.data(plan.members), trainer)
    scored = scored_sizes(plan, plan.data(plan.members))
    kernels = compiled_kernels(costs, sizes, scored)

    def phase(name: str, members: int, **more: int) -> Phase:
        parts = {
            "interpreter, libraries, texts": costs.floor if on_cpu else 0,
            "compiled kernels": round(kernels) if on_cpu else 0,
            "weights": costs.shared + members * costs.member,
            "moments": (1 if plan.settings.model.moments_dtype else 2) * members * costs.trained,
            # On a GPU merged models are in CPU memory.
            "merged models": targets * costs.merged if on_cpu else 0,
            "outer optimizer": outer if on_cpu else 0,
            **{what.replace("_", " "): size for what, size in more.items()},
        }
        return Phase(name, {what: size for what, size in parts.items() if size})

    def training(name: str, members: Mapping[str, tuple[str, ...]], tokens: int, before: int = 0) -> Phase:
        here = len(members) if on_cpu else min(plan.settings.model.members_in_memory or len(members), len(members))
        activations = round(costs.token * tokens)
        return phase(
            name, here, gradients=here * costs.trained, activations=activations, weights_of_the_merged_run=before
        )

    found = [training("training", plan.members, largest), phase("scoring", present, scoring=present * costs.scoring)]
    if targets:
        new = (targets + (merging.follow == "mean" or outer > 0)) * costs.merged
        copy = costs.shared + costs.member
        found.append(phase("merging", count, new_merged_models=new, a_copy_to_score=copy, scoring=costs.scoring))
    if plan.settings.compare:
        natives = {sources.target: (sources.target,) for sources in plan.targets}
        before = costs.shared + count * costs.member
        members = {**plan.members, **natives}
        largest, _ = training_sizes(plan, plan.data(members), trainer)
        found.append(training("training for comparison", members, largest, before))
        pooled = {POOLED: tuple(plan.members)}
        largest, _ = training_sizes(plan, plan.data(pooled), trainer)
        found.append(training("training on all sources together", pooled, largest, before))
    return found


def compiled_kernels(costs: Costs, trained: int, scored: int) -> float:
    """Predicts the memory of compiled kernels in bytes, beyond those in the floor.

    Args:
        costs: measured memory.
        trained: number of train batch sizes in the run.
        scored: number of evaluation batch sizes.
    """
    everything = trained * costs.train_kernels + scored * costs.eval_kernels
    kept = min(1.0, KERNELS / max(1, trained * KERNELS_TO_TRAIN + scored * KERNELS_TO_SCORE))
    there = costs.seen[0] * costs.train_kernels + costs.seen[1] * costs.eval_kernels
    return max(0.0, kept * everything - there)


MOST_EPOCHS = 100  # more have hardly any other batches


def training_sizes(plan: RunPlan, data: IntentDataModule, trainer: Trainer) -> tuple[int, int]:
    """Returns the maximum number of concurrent tokens on a device, and the number of batch sizes.

    These are the tokens of all members, or of those that are computed concurrently. Batches are determined by the seed.
    """
    limit, turns = trainer.limit_train_batches, plan.settings.model.members_in_memory
    batches = data.member_batches()
    most = limit if isinstance(limit, int) else int(max(batches.values()) * (1.0 if limit is None else limit))
    schedule = Turns(batches, turns if turns < len(batches) else 0, trainer.accumulate_grad_batches, limit=most)
    samplers: dict[str, Any] = {name: data.member_loader(name).sampler for name in data.members}
    padded, largest = not stacked(plan, trainer), 0
    together = None if padded else torch.get_num_threads()
    seen: set[int] = set()
    epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else 1
    for epoch in range(min(epochs, MOST_EPOCHS)):
        sizes = {}
        for name, sampler in samplers.items():
            sampler.set_epoch(epoch)
            lengths = (sampler.lengths[batch[:: trainer.world_size]] for batch in sampler.global_batches())
            sizes[name] = [_tokens(rows, padded) for rows in lengths]
        for place in schedule.places(epoch):
            step = [sizes[name][place.number] for name in place.members]
            largest, seen = max(largest, sum(sorted(step)[::-1][:together])), seen.union(step)
    return largest, len(seen)


def _tokens(lengths: np.ndarray, padded: bool) -> int:
    """Number of tokens of a batch, including padding."""
    return len(lengths) * padded_width(lengths.max()) if padded else bucket_size(int(lengths.sum()))


def scored_sizes(plan: RunPlan, data: IntentDataModule) -> int:
    """Number of evaluation batch sizes during training."""
    tags = dict.fromkeys([*(sources.target for sources in plan.targets), *data.eval_locales])
    return len({size for tag in tags for size in _scored(data, tag)})


def _scored(data: IntentDataModule, tag: str) -> dict[int, list[int]]:
    """Returns evaluation batches of a locale by number of tokens."""
    (loader,) = data.eval_loaders("dev", [tag]).values()
    dataset: Any = loader.dataset
    return {bucket_size(len(rows) * int(dataset.rows.lengths[rows].max())): list(rows) for rows in loader.sampler}


def try_out(plan: RunPlan, trainer: Trainer) -> Costs:
    """Measures memory: trains concurrent members on the longest batches and evaluates one.

    Args:
        plan: the run.
        trainer: trainer with the devices and precision of the run.
    """
    costs = _tried(plan, trainer)
    if plan.merges:
        _import_matplotlib()
    release_memory()
    return replace(costs, floor=private_memory())


def _tried(plan: RunPlan, trainer: Trainer) -> Costs:
    device, precision = trainer.strategy.root_device, trainer.precision_plugin.forward_context
    names = list(plan.members)[: torch.get_num_threads() if stacked(plan, trainer) else 1]
    module, data = plan.joint(names).to(device), plan.data(plan.members)
    module.trainer = trainer
    module.on_train_start()
    member = module.member(names[0])
    trained = sum(one.nbytes for one in member.parameters() if one.requires_grad)
    whole = sum({one.data_ptr(): one.nbytes for one in (*member.parameters(), *member.buffers())}.values())
    shared = 0 if plan.settings.model.adapter == "none" else whole - trained
    merged = sum(one.nbytes for one in member.merge_state().values())

    def step(rows: Sequence[int]) -> int:
        batch = moved(texts.batch(rows), device)
        with precision():
            losses = module.step_losses(dict.fromkeys(names, batch), 0)
        torch.stack(list(losses.values())).sum().backward()
        return len(names) * _tokens(texts.lengths[rows], not module.training_pass.stacked)

    def settled() -> int:
        module.zero_grad()
        release_memory()
        return private_memory()

    texts = concatenate({tag: data.encoded(tag, "train") for tag in plan.members[names[0]]})
    batches = _of_distinct_sizes(texts, data.batch_size, trainer.world_size, not module.training_pass.stacked)
    in_a_row = islice(cycle(batches[-LONGEST:]), WATCHED)
    steps = progress([*batches, *in_a_row], len(batches) + WATCHED, "steps measured")
    levels = []
    for rows in islice(steps, len(batches)):
        largest = step(rows)
        levels.append(settled())
    with PeakMemory(device) as measured:
        # As in the run: memory is not released between steps, so fragmentation is included.
        for rows in steps:
            module.zero_grad()
            step(rows)
    token = max(0, measured.peak - len(names) * trained) / largest
    settled()
    tags = list(dict.fromkeys([*(sources.target for sources in plan.targets), *data.eval_locales]))[:TRIED_LOCALES]
    found = {size: (tag, rows) for tag in tags for size, rows in _scored(data, tag).items()}
    scored = []
    with torch.inference_mode(), precision(), packed(member.eval()):
        for tag, rows in found.values():
            member(moved(EvalRows(data.encoded(tag, "dev"))[rows], device))
            release_memory()
            scored.append(private_memory())
    settled()
    with PeakMemory(device) as measured, torch.inference_mode(), precision(), packed(member):
        for tag, rows in found.values():
            member(moved(EvalRows(data.encoded(tag, "dev"))[rows], device))
    return Costs(
        floor=0,
        member=whole - shared,
        trained=trained,
        shared=shared,
        merged=merged,
        token=token,
        scoring=measured.peak,
        train_kernels=_growth(levels),
        eval_kernels=_growth(scored),
        seen=(len(batches), len(found)),
    )


def _growth(levels: Sequence[int]) -> float:
    """Estimates memory per item from measurements after each item; the first ones include one-time costs."""
    later = levels[len(levels) // 3 :]
    return max(0.0, (later[-1] - later[0]) / (len(later) - 1)) if len(later) > 1 else 0.0


def _of_distinct_sizes(rows: EncodedRows, size: BatchSize, world_size: int, padded: bool) -> list[list[int]]:
    """Returns a device's part of a few full batches of distinct sizes, the largest last."""
    order = rows.lengths.argsort(kind="stable")
    if size.tokens is None and len(order) > size.rows:
        order = order[len(order) % size.rows :]
    found: dict[int, list[int]] = {}
    for batch in np.split(order, size.starts(rows.lengths[order])[1:])[::-1]:
        mine = batch[::world_size]
        found.setdefault(_tokens(rows.lengths[mine], padded), mine.tolist())
    return [found[tokens] for tokens in sorted(found)[-TRIED:]]


def _import_matplotlib() -> None:
    """Imports matplotlib so that its memory is counted."""
    from matplotlib import pyplot

    pyplot.close(pyplot.figure())
