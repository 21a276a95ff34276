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
from mu_lightning.merging.method import Piece

# Elements of a piece where any will do: small enough for the processor's caches, large enough for its threads. Random
# draws are seeded by piece, so another number here gives other (equally good) draws.
PIECE = 2**18


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
        survey = method.survey(lambda: pieces_of(job, stack), job.parameters)
    for piece in pieces_of(job, stack):
        yield method.combine(replace(piece, survey=survey), job.parameters)


def model_survey(job: Job, stacks: Iterable[Stack]) -> Any:
    """What a method's model-wide survey finds, or None where it has none. `stacks` is iterated as often as it likes."""
    if job.method.survey is None or job.method.survey_scope(job.parameters) != "model":
        return None

    def pieces() -> Iterator[Piece]:
        for stack in stacks:
            if stack.sources[0].is_floating_point() and stack.name not in job.headless:
                yield from pieces_of(job.of(stack.name), stack)

    return job.method.survey(pieces, job.parameters)


def pieces_of(job: Job, stack: Stack) -> Iterator[Piece]:
    """Cuts a tensor as its method allows: flat runs of elements, whole rows, or all of it at once.

    Raises:
        UserError: a NaN or an infinity in a source or the base.
    """
    first = stack.sources[0]
    wide = any(source.dtype == torch.float64 for source in stack.sources)
    dtype, device = torch.float64 if wide else torch.float32, job.device or first.device
    for start, cut in _cuts(first.shape, job.method.granularity):

        def part(tensor: Tensor, cut: Callable[[Tensor], Tensor] = cut) -> Tensor:
            return cut(tensor).to(device=device, dtype=dtype)

        def generator(index: int, start: int = start) -> torch.Generator:
            return seeded(job.seed, stack.name, job.names[index], start)

        sources = [part(source) for source in stack.sources]
        for name, source in zip(job.names, sources, strict=True):
            check_finite(source, stack.name, name)
        base = None
        if stack.base is not None and job.method.sees_base:
            base = part(stack.base)
            check_finite(base, stack.name, "the base")
        statistics = None
        if stack.statistics is not None:
            # A statistic of the tensor's own shape is cut like it; any other (a Gram matrix) comes whole.
            statistics = [
                None if each is None else part(each) if each.shape == first.shape else each.to(device, dtype)
                for each in stack.statistics
            ]
        yield Piece(stack.name, sources, job.weights, base, statistics, generator=generator)


def _cuts(shape: torch.Size, granularity: str) -> Iterator[tuple[int, Callable[[Tensor], Tensor]]]:
    """Where each piece of a tensor of this shape starts, and a function that cuts it out."""
    count = shape.numel()
    if granularity == "elements" and count:
        for start in range(0, count, PIECE):
            yield start, partial(_elements, start, start + PIECE)
    elif granularity == "rows" and len(shape) > 1 and count:
        rows = max(1, PIECE // (count // shape[0]))
        for start in range(0, shape[0], rows):
            yield start, partial(_rows, start, start + rows)
    else:
        yield 0, _whole


def _elements(start: int, stop: int, tensor: Tensor) -> Tensor:
    return tensor.reshape(-1)[start:stop]


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
