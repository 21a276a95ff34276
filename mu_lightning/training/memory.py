"""The most memory that a run will take, told before it starts: a few members are tried out, the rest is counted.

What a model, its gradient and its moments take is known. What a step keeps for the backward pass, and what the
interpreter, the libraries and their compiled kernels take, is read off the process while as many members as are
computed at a time train on the longest batches, and one is scored, and once they are gone again.
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

# Sizes of training batches, and locales whose dev rows are scored, that are tried out.
TRIED, TRIED_LOCALES = 12, 3
# The longest of them, and steps in a row on those, over which the most is looked for.
LONGEST, WATCHED = 4, 16
# oneDNN keeps so many kernels; a training batch of another size needs 12 (counted with ONEDNN_VERBOSE), a scored one 9.
KERNELS = 1024
KERNELS_TO_TRAIN, KERNELS_TO_SCORE = 12, 9


@dataclass(frozen=True)
class Costs:
    """Bytes.

    Attributes:
        floor: the process without members.
        member: one member's tensors, those apart that it shares with others.
        trained: those of them that are trained: a gradient takes as much, moments take twice as much, or as much in
            bfloat16.
        shared: what all members share.
        merged: the tensors that merges act on.
        token: what a token of a training batch takes until the backward pass is over, beyond the gradient.
        scoring: what scoring one member takes, its weights laid out for it.
        train_kernels: what the compiled kernels of one more size of training batches take.
        eval_kernels: the same of scored batches.
        seen: sizes of training and of scored batches whose kernels are in the floor already.
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
    """What a part of the run holds at its most: what -> bytes."""

    name: str
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.parts.values())


def phases(plan: RunPlan, costs: Costs, trainer: Trainer) -> list[Phase]:
    """What each part of the run holds at its most in the memory of the members' device.

    Args:
        plan: the run.
        costs: as `try_out` gives them.
        trainer: what will fit. On a GPU the process' own memory is not counted.
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
            # On a GPU what was merged rests in ordinary memory.
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
    """What compiled kernels will take beyond those that are in the floor, in bytes.

    Args:
        costs: what those of one more size of batches take.
        trained: sizes of training batches in the run.
        scored: sizes of scored batches.
    """
    everything = trained * costs.train_kernels + scored * costs.eval_kernels
    kept = min(1.0, KERNELS / max(1, trained * KERNELS_TO_TRAIN + scored * KERNELS_TO_SCORE))
    there = costs.seen[0] * costs.train_kernels + costs.seen[1] * costs.eval_kernels
    return max(0.0, kept * everything - there)


def training_sizes(plan: RunPlan, data: IntentDataModule, trainer: Trainer) -> tuple[int, int]:
    """The most tokens of a step that are held together on one device, and how many sizes batches have.

    That is the tokens of all members' batches, or of as many as are computed at a time. Batches follow from the seed,
    so all that the run will see are looked at.
    """
    limit, turns = trainer.limit_train_batches, plan.settings.model.members_in_memory
    batches = data.member_batches()
    most = limit if isinstance(limit, int) else int(max(batches.values()) * (1.0 if limit is None else limit))
    schedule = Turns(batches, turns if turns < len(batches) else 0, trainer.accumulate_grad_batches, limit=most)
    samplers: dict[str, Any] = {name: data.member_loader(name).sampler for name in data.members}
    padded, largest = not stacked(plan, trainer), 0
    together = None if padded else torch.get_num_threads()
    seen: set[int] = set()
    for epoch in range(trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else 1):
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
    """The tokens that a batch of rows of these lengths is computed with."""
    return len(lengths) * padded_width(lengths.max()) if padded else bucket_size(int(lengths.sum()))


def scored_sizes(plan: RunPlan, data: IntentDataModule) -> int:
    """How many sizes the batches have that are scored while the run trains."""
    tags = dict.fromkeys([*(sources.target for sources in plan.targets), *data.eval_locales])
    return len({size for tag in tags for size in _scored(data, tag)})


def _scored(data: IntentDataModule, tag: str) -> dict[int, list[int]]:
    """Tokens, as they are computed -> a batch of a locale's dev split of that size."""
    (loader,) = data.eval_loaders("dev", [tag]).values()
    dataset: Any = loader.dataset
    return {bucket_size(len(rows) * int(dataset.rows.lengths[rows].max())): list(rows) for rows in loader.sampler}


def try_out(plan: RunPlan, trainer: Trainer) -> Costs:
    """Trains as many members as are computed at a time on the longest batches, scores one, and counts.

    Args:
        plan: the run.
        trainer: what will fit, as far as devices and precision go.
    """
    costs = _tried(plan, trainer)
    if plan.merges:
        _import_pictures()
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
    steps = progress([*batches, *in_a_row], len(batches) + WATCHED, "steps tried out")
    levels = []
    for rows in islice(steps, len(batches)):
        largest = step(rows)
        levels.append(settled())
    with PeakMemory(device) as measured:
        # As the run goes: nothing is handed back between steps, so the pieces that one leaves do not all fit the next.
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
    """What one more thing takes, from what is held after each of some; the first ones take what only they do."""
    later = levels[len(levels) // 3 :]
    return max(0.0, (later[-1] - later[0]) / (len(later) - 1)) if len(later) > 1 else 0.0


def _of_distinct_sizes(rows: EncodedRows, size: BatchSize, world_size: int, padded: bool) -> list[list[int]]:
    """A device's part of a few full batches of rows of about one length, no two of one size, the largest last."""
    order = rows.lengths.argsort(kind="stable")
    if size.tokens is None and len(order) > size.rows:
        order = order[len(order) % size.rows :]
    found: dict[int, list[int]] = {}
    for batch in np.split(order, size.starts(rows.lengths[order])[1:])[::-1]:
        mine = batch[::world_size]
        found.setdefault(_tokens(rows.lengths[mine], padded), mine.tolist())
    return [found[tokens] for tokens in sorted(found)[-TRIED:]]


def _import_pictures() -> None:
    """Imports what draws the merges: a run takes it in when it draws the first time."""
    from matplotlib import pyplot

    pyplot.close(pyplot.figure())
