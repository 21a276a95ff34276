"""Cuts a tensor in every source into parts, and makes of a part what a method sees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mu_lightning.merging.engine.cutting import Cut, cuts, piece_size, rows_of
from mu_lightning.merging.engine.finite import check_sources
from mu_lightning.merging.engine.frozen_rows import LeftOut
from mu_lightning.merging.engine.job import Job
from mu_lightning.merging.engine.unchanged import changed_rows
from mu_lightning.merging.method import OneByOne, Piece
from mu_lightning.merging.methods.shared.random_masks import whole_numbers


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
class Part:
    """The element that a piece starts at and how to cut it out of each tensor of a stack."""

    job: Job
    stack: Stack
    start: int
    cut: Cut


class Cutter:
    """Cuts a part out of tensors, onto the device and into the dtype of the arithmetic."""

    def __init__(self, part: Part) -> None:
        self._cut = part.cut
        first = part.stack.sources[0]
        self.device = part.job.device or first.device
        wide = any(source.dtype == torch.float64 for source in part.stack.sources)
        self.dtype = torch.float64 if wide else torch.float32

    def __call__(self, tensor: Tensor | None) -> Tensor:
        assert tensor is not None
        return self._cut(tensor).to(device=self.device, dtype=self.dtype)


def piece_of(part: Part, *, check: bool) -> tuple[Piece, Tensor | None]:
    """A part as its method sees it, and which rows it is about if not all."""
    job, stack, cut = part.job, part.stack, Cutter(part)

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


def parts_of(job: Job, stack: Stack) -> list[Part]:
    """A tensor's parts, as its method allows."""
    granularity, sources = job.method.granularity, len(stack.sources)
    if stack.left_out is None or not stack.puts_back(job):
        return [Part(job, stack, *found) for found in cuts(stack.sources[0].shape, sources, granularity)]
    shape = stack.whole
    rows, width = rows_of(shape, sources)
    if len(shape) == 1 or granularity == "tensor" or shape.numel() <= piece_size(sources):
        rows = shape[0]
    return [
        Part(job, stack, row * width, partial(stack.left_out.rows, row, row + rows)) for row in range(0, shape[0], rows)
    ]
