"""Cuts tensors into the pieces a method may see and feeds them to it; shared by the engine in memory and on disk."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mu_lightning.merging.cutting import Cut, cuts, piece_size, rows_of
from mu_lightning.merging.draws import whole_numbers
from mu_lightning.merging.finite import check_sources, unequal
from mu_lightning.merging.job import Job
from mu_lightning.merging.left_out import LeftOut
from mu_lightning.merging.method import OneByOne, Piece, View
from mu_lightning.merging.tensor_threads import tensors_in_order
from mu_lightning.merging.unchanged import changed_rows


@dataclass(frozen=True)
class Stack:
    """One tensor in every source (and the base), wherever it lies: in memory or mapped from a file.

    `left_out` is given where its sources, base and statistics lack rows.
    """

    name: str
    sources: Sequence[Tensor]
    base: Tensor | None = None
    statistics: Sequence[Tensor | None] | None = None
    left_out: LeftOut | None = None

    @property
    def whole(self) -> torch.Size:
        """The tensor's shape with all of its rows."""
        return self.sources[0].shape if self.left_out is None else self.left_out.table.shape

    def puts_back(self, job: Job) -> bool:
        """Whether its method must be given the rows that are left out, too."""
        return self.left_out is not None and not job.method.bears_left_out


@dataclass(frozen=True)
class _Part:
    """The element that a piece starts at and how to cut it out of each tensor of a stack."""

    job: Job
    stack: Stack
    start: int
    cut: Cut


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

    def combine(part: _Part) -> Tensor:
        piece, changed = _piece(part, check=method.survey is None and not method.spreads)
        if changed is None:
            merged = method.combine(replace(piece, survey=survey), job.parameters)
        else:
            merged = _Cut(part)(stack.base)
            if piece.sources[0].numel():
                found = method.combine(replace(piece, survey=survey), job.parameters)
                merged = merged.index_copy(0, changed, found)
        if method.spreads and not math.isfinite(merged.sum().item()):
            _piece(part, check=True)  # names the source
        return merged

    pieces = tensors_in_order(combine, _parts(job, stack), job.device or stack.sources[0].device)
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

        def seen(part: _Part) -> tuple[bool, Any]:
            piece, _ = _piece(part, check=not checked)
            return (True, function(piece)) if piece.sources[0].numel() else (False, None)

        parts = [part for job, stack in stacks for part in _parts(job, stack)]
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


class _Cut:
    """Cuts a part out of tensors, onto the device and into the dtype of the arithmetic."""

    def __init__(self, part: _Part) -> None:
        self._cut = part.cut
        first = part.stack.sources[0]
        self.device = part.job.device or first.device
        wide = any(source.dtype == torch.float64 for source in part.stack.sources)
        self.dtype = torch.float64 if wide else torch.float32

    def __call__(self, tensor: Tensor | None) -> Tensor:
        assert tensor is not None
        return self._cut(tensor).to(device=self.device, dtype=self.dtype)


def _piece(part: _Part, *, check: bool) -> tuple[Piece, Tensor | None]:
    """A part as its method sees it, and which rows it is about if not all."""
    job, stack, cut = part.job, part.stack, _Cut(part)

    def each(make: Callable[[Tensor], Tensor]) -> Sequence[Tensor]:
        if job.method.granularity == "tensor":  # whole ones of all sources would be too much
            return OneByOne(len(stack.sources), lambda index: make(stack.sources[index]))
        return [make(source) for source in stack.sources]

    sources = each(cut)
    shape = sources[0].shape
    base = cut(stack.base) if stack.base is not None and job.method.sees_base else None
    if check:
        check_sources(job.names, Piece(stack.name, sources, job.weights, base))
    # A statistic of the tensor's own shape is cut like it; any other (a Gram matrix) comes whole.
    whole = stack.sources[0].shape
    statistics = stack.statistics and [
        None if one is None else cut(one) if one.shape == whole else one.to(cut.device, cut.dtype)
        for one in stack.statistics
    ]
    changed = _changed_rows(sources, base) if job.method.local and base is not None and base.dim() > 1 else None
    if changed is not None and base is not None:
        sources, base = each(lambda source: cut(source)[changed]), base[changed]

    def draws(index: int) -> Tensor:
        numbers = whole_numbers(part.start, shape.numel(), job.seed, stack.name, job.names[index]).view(shape)
        return numbers if changed is None else numbers[changed.cpu()]

    return Piece(stack.name, sources, job.weights, base, statistics, draws=draws), changed


def _changed_rows(sources: Sequence[Tensor], base: Tensor) -> Tensor | None:
    """The numbers of the rows that some source changed, or None for all."""
    if base.device.type != "cpu":
        found = changed_rows(sources, base)
    else:  # numpy compares and reduces several times faster than torch does on a CPU
        arrays = OneByOne(len(sources), lambda index: sources[index].detach().numpy())
        array = changed_rows(arrays, base.detach().numpy())
        found = None if array is None else torch.from_numpy(array)
    return None if found is None else found.nonzero().squeeze(1)


def _parts(job: Job, stack: Stack) -> list[_Part]:
    """A tensor's parts, as its method allows."""
    granularity, sources = job.method.granularity, len(stack.sources)
    if stack.left_out is None or not stack.puts_back(job):
        return [_Part(job, stack, *found) for found in cuts(stack.sources[0].shape, sources, granularity)]
    shape = stack.whole
    rows, width = rows_of(shape, sources)
    if len(shape) == 1 or granularity == "tensor" or shape.numel() <= piece_size(sources):
        rows = shape[0]
    return [
        _Part(job, stack, row * width, partial(stack.left_out.rows, row, row + rows))
        for row in range(0, shape[0], rows)
    ]


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
