"""Cuts tensors into the pieces a method may see and feeds them to it; shared by the engine in memory and on disk."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mu_lightning.errors import UserError
from mu_lightning.merging.checks import check_finite
from mu_lightning.merging.job import Job
from mu_lightning.merging.method import Piece, View

# Elements of a piece where any will do: small enough for the processor's caches, large enough for its threads. Random
# draws are seeded by piece, so another number here gives other (equally good) draws.
PIECE = 2**18
# Unchanged rows are left out only where they are at least this share of a piece: gathering the others costs too.
_WORTHWHILE = 1 / 8


@dataclass(frozen=True)
class Stack:
    """One tensor in every source (and the base), wherever it lies: in memory or mapped from a file."""

    name: str
    sources: Sequence[Tensor]
    base: Tensor | None = None
    statistics: Sequence[Tensor | None] | None = None


def combined_pieces(job: Job, stack: Stack, survey: Any = None) -> Iterator[Tensor]:
    """The merged tensor in consecutive pieces, in the dtype of the accumulation.

    Args:
        job: the merge.
        stack: the tensor in every source, of a floating dtype.
        survey: what `model_survey` returned.

    Raises:
        UserError: a NaN or an infinity in a source.
    """
    job = job.of(stack.name)
    method = job.method
    if method.survey is not None and method.survey_scope(job.parameters) == "tensor":
        survey = method.survey(_view([(job, stack)]), job.parameters)
    for piece, kept in _pieces_of(job, stack, check=method.survey is None):
        if kept is None:
            yield method.combine(replace(piece, survey=survey), job.parameters)
        elif piece.sources[0].numel() == 0:
            yield kept.base
        else:
            merged = method.combine(replace(piece, survey=survey), job.parameters)
            yield kept.base.index_copy(0, kept.changed, merged)


def model_survey(job: Job, stacks: Iterable[Stack]) -> Any:
    """What a method's model-wide survey finds, or None where it has none."""
    if job.method.survey is None or job.method.survey_scope(job.parameters) != "model":
        return None
    seen = [
        (job.of(stack.name), stack)
        for stack in stacks
        if stack.sources[0].is_floating_point() and stack.name not in job.headless
    ]
    return job.method.survey(_view(seen), job.parameters)


def _view(stacks: Sequence[tuple[Job, Stack]]) -> View:
    checked = False

    def pieces() -> Iterator[Piece]:
        nonlocal checked
        for job, stack in stacks:
            for piece, _ in _pieces_of(job, stack, check=not checked):
                if piece.sources[0].numel():
                    yield piece
        checked = True

    total = sum(stack.sources[0].numel() for _, stack in stacks)
    return View(pieces, total, len(stacks[0][1].sources) if stacks else 0)


@dataclass(frozen=True)
class _Kept:
    """The rows of a piece that no source changed: the base's part, and which of its rows the piece is about."""

    base: Tensor
    changed: Tensor


def _pieces_of(job: Job, stack: Stack, *, check: bool) -> Iterator[tuple[Piece, _Kept | None]]:
    """Cuts a tensor as its method allows: rows of about `PIECE` elements, or all of it at once."""
    first, method = stack.sources[0], job.method
    wide = any(source.dtype == torch.float64 for source in stack.sources)
    dtype, device = torch.float64 if wide else torch.float32, job.device or first.device
    for start, cut in _cuts(first.shape, method.granularity):

        def part(tensor: Tensor, cut: Callable[[Tensor], Tensor] = cut) -> Tensor:
            return cut(tensor).to(device=device, dtype=dtype)

        def generator(index: int, start: int = start) -> torch.Generator:
            return seeded(job.seed, stack.name, job.names[index], start)

        sources = [part(source) for source in stack.sources]
        base = part(stack.base) if stack.base is not None and method.sees_base else None
        if check:
            for name, source in zip(job.names, sources, strict=True):
                check_finite(source, stack.name, name)
            if base is not None:
                check_finite(base, stack.name, "the base")
        # A statistic of the tensor's own shape is cut like it; any other (a Gram matrix) comes whole.
        statistics = stack.statistics and [
            None if each is None else part(each) if each.shape == first.shape else each.to(device, dtype)
            for each in stack.statistics
        ]
        kept = None
        if method.local and base is not None and base.dim() > 1:
            changed = _changed_rows(sources, base)
            if changed is not None:
                kept = _Kept(base, changed)
                sources, base = [source[changed] for source in sources], base[changed]
        yield Piece(stack.name, sources, job.weights, base, statistics, generator=generator), kept


def _changed_rows(sources: Sequence[Tensor], base: Tensor) -> Tensor | None:
    """The indices of the rows that some source changed, or None if there are hardly any others.

    Fine-tuning changes the embeddings of the few tokens it saw. A row that changed nearly always shows it in its first
    elements, so only the others are compared whole.
    """
    probe = base[:, :8]
    same = torch.ones(len(base), dtype=torch.bool, device=base.device)
    for source in sources:
        same &= (source[:, :8] == probe).flatten(1).all(1)
    alike = same.nonzero().squeeze(1)
    if len(alike) < _WORTHWHILE * len(base):
        return None
    rows = base[alike].flatten(1)
    for source in sources:
        same[alike] &= (source[alike].flatten(1) == rows).all(1)
    changed = (~same).nonzero().squeeze(1)
    return None if len(base) - len(changed) < _WORTHWHILE * len(base) else changed


def _cuts(shape: torch.Size, granularity: str) -> Iterator[tuple[int, Callable[[Tensor], Tensor]]]:
    """Where each piece of a tensor of this shape starts, and a function that cuts it out."""
    count = shape.numel()
    if granularity == "tensor" or count <= PIECE or (granularity == "rows" and len(shape) == 1):
        yield 0, _whole
    elif len(shape) == 1 or (granularity == "elements" and count // shape[0] > PIECE):
        for start in range(0, count, PIECE):
            yield start, partial(_elements, start)
    else:
        rows = max(1, PIECE // (count // shape[0]))
        for start in range(0, shape[0], rows):
            yield start, partial(_rows, start, start + rows)


def _elements(start: int, tensor: Tensor) -> Tensor:
    return tensor.reshape(-1)[start : start + PIECE]


def _rows(start: int, stop: int, tensor: Tensor) -> Tensor:
    return tensor[start:stop]


def _whole(tensor: Tensor) -> Tensor:
    return tensor


def seeded(seed: int, tensor: str, source: str, start: int) -> torch.Generator:
    """A generator on the CPU (so that every device sees the same draws), seeded by run, tensor, source and part."""
    digest = hashlib.blake2b(f"{seed}\0{tensor}\0{source}\0{start}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def equal_buffer(names: Sequence[str], stack: Stack) -> Tensor:
    """The first source's integer or boolean tensor, which cannot be averaged.

    Raises:
        UserError: it differs between two sources.
    """
    first = stack.sources[0]
    for name, other in zip(names[1:], stack.sources[1:], strict=True):
        if not torch.equal(first, other.to(first.device)):
            raise UserError(
                f"{stack.name} ({str(first.dtype).removeprefix('torch.')}) differs between {names[0]} and {name}: "
                "whole numbers are not averaged, they must be equal"
            )
    return first


def promoted(sources: Sequence[Tensor]) -> torch.dtype:
    """The narrowest floating dtype that holds every source's values."""
    dtype = sources[0].dtype
    for source in sources[1:]:
        dtype = torch.promote_types(dtype, source.dtype)
    return dtype
