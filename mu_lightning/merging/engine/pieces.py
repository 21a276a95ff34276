"""Feeds the pieces of tensors to a method, and to its survey; shared by the engine in memory and on disk."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mu_lightning.merging.engine.finite import unequal
from mu_lightning.merging.engine.job import Job
from mu_lightning.merging.engine.parts import Cutter, Part, Stack, parts_of, piece_of
from mu_lightning.merging.engine.tensor_threads import tensors_in_order
from mu_lightning.merging.method import Piece, View

# Is told, of a survey's pass: what it goes through, how many pieces are done, and how many there are.
Watch = Callable[[str, int, int], None]


def unwatched(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def combined_pieces(job: Job, stack: Stack, survey: Any = None, watch: Watch = unwatched) -> Iterator[Tensor]:
    """The merged tensor in consecutive pieces, in the dtype of the accumulation.

    Args:
        job: the merge.
        stack: the tensor in every source, of a floating dtype.
        survey: what `model_survey` returned.
        watch: hears how far a survey of this tensor is.

    Raises:
        UserError: a NaN or an infinity in a source.
    """
    job = job.of(stack.name)
    method = job.method
    if method.survey is not None and method.survey_scope(job.parameters) == "tensor":
        survey = method.survey(_view([(job, stack)], watch), job.parameters)

    def combine(part: Part) -> Tensor:
        piece, changed = piece_of(part, check=method.survey is None and not method.spreads)
        if changed is None:
            merged = method.combine(replace(piece, survey=survey), job.parameters)
        else:
            merged = Cutter(part)(stack.base)
            if piece.sources[0].numel():
                found = method.combine(replace(piece, survey=survey), job.parameters)
                merged = merged.index_copy(0, changed, found)
        if method.spreads and not math.isfinite(merged.sum().item()):
            piece_of(part, check=True)  # names the source
        return merged

    pieces = tensors_in_order(combine, parts_of(job, stack), job.device or stack.sources[0].device)
    yield from stack.left_out.trimmed(pieces) if stack.left_out and stack.puts_back(job) else pieces


def model_survey(job: Job, stacks: Iterable[Stack], watch: Watch = unwatched) -> Any:
    """What a method's model-wide survey finds, or None where it has none; `watch` hears how far it is."""
    method = job.method
    if method.survey is None:
        return None
    candidates = [(job.of(stack.name), stack) for stack in stacks if stack.sources[0].is_floating_point()]
    seen = [
        (own, stack)
        for own, stack in candidates
        if own.method is method and method.survey_scope(own.parameters) == "model"
    ]
    return method.survey(_view(seen, watch), seen[0][0].parameters) if seen else None


def _view(stacks: Sequence[tuple[Job, Stack]], watch: Watch) -> View:
    checked = False
    what = stacks[0][1].name if len(stacks) == 1 else "all tensors"

    def pieces(function: Callable[[Piece], Any]) -> Iterator[Any]:
        nonlocal checked

        def seen(part: Part) -> tuple[bool, Any]:
            piece, _ = piece_of(part, check=not checked)
            return (True, function(piece)) if piece.sources[0].numel() else (False, None)

        parts = [part for job, stack in stacks for part in parts_of(job, stack)]
        device = stacks[0][0].device or stacks[0][1].sources[0].device
        for done, (there, result) in enumerate(tensors_in_order(seen, parts, device), 1):
            watch(what, done, len(parts))
            if there:
                yield result
        checked = True

    def only(chosen: Sequence[int]) -> View:
        return _view([(_job_of(job, chosen), _stack_of(stack, chosen)) for job, stack in stacks], watch)

    total = sum(stack.whole.numel() for _, stack in stacks)
    return View(pieces, total, len(stacks[0][1].sources), only)


def _job_of(job: Job, chosen: Sequence[int]) -> Job:
    return replace(job, names=tuple(job.names[i] for i in chosen), weights=tuple(job.weights[i] for i in chosen))


def _stack_of(stack: Stack, chosen: Sequence[int]) -> Stack:
    statistics = stack.statistics and [stack.statistics[index] for index in chosen]
    return replace(stack, sources=[stack.sources[index] for index in chosen], statistics=statistics)


def equal_buffer(names: Sequence[str], stack: Stack) -> Tensor:
    """The first source's integer or boolean tensor, which cannot be averaged.

    Raises:
        UserError: it differs between two sources.
    """
    first = stack.sources[0]
    for name, other in zip(names[1:], stack.sources[1:], strict=True):
        if not torch.equal(first, other.to(first.device)):
            raise unequal(stack.name, str(first.dtype).removeprefix("torch."), names[0], name)
    return first


def promoted(sources: Sequence[Tensor]) -> torch.dtype:
    """The narrowest floating dtype that holds every source's values."""
    dtype = sources[0].dtype
    for source in sources[1:]:
        dtype = torch.promote_types(dtype, source.dtype)
    return dtype
