"""The engine in memory: checks the sources, cuts tensors into the pieces a method may see, collects the results.

`pieces_of` and `combined_pieces` are shared with the streaming engine, so both give the same result to the bit.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mu_lightning.errors import UserError
from mu_lightning.merging.checks import check_finite, check_plan, check_same_tensors
from mu_lightning.merging.method import Method, Piece, build_parameters
from mu_lightning.merging.registry import find_method

# Elements a piece of an elementwise method has: small enough for the processor's caches, large enough for its threads.
# Random draws are seeded by piece, so another number here gives other (equally good) draws.
PIECE = 2**18


@dataclass(frozen=True)
class Job:
    """A merge without its tensors: what to do, with which weights, where.

    Attributes:
        method: the method.
        parameters: its parameters.
        names: the sources' names, in order.
        weights: their weights, in the same order.
        seed: the run's seed, for methods that draw.
        device: where the arithmetic happens; None for where the tensors are.
    """

    method: Method
    parameters: Any
    names: tuple[str, ...]
    weights: tuple[float, ...]
    seed: int = 0
    device: torch.device | None = None


@dataclass(frozen=True)
class Stack:
    """One tensor in every source (and the base), wherever it lies: in memory or mapped from a file."""

    name: str
    sources: Sequence[Tensor]
    base: Tensor | None = None
    statistics: Sequence[Tensor | None] | None = None


def plan_job(
    method: str | Method,
    weights: Mapping[str, float],
    names: Sequence[str],
    *,
    has_base: bool = False,
    has_statistics: bool = False,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> Job:
    """Validates everything about a merge that needs no tensor.

    Raises:
        UserError: unknown method or parameter, too few or too many sources, weights that don't match them, no base
            where the method needs one.
    """
    method = find_method(method)
    check_plan(method, weights, names, has_base=has_base, has_statistics=has_statistics)
    return Job(
        method=method,
        parameters=build_parameters(method, parameters),
        names=tuple(names),
        weights=tuple(float(weights[name]) for name in names),
        seed=seed,
        device=None if device is None else torch.device(device),
    )


@torch.no_grad()
def merge_tensors(
    method: str | Method,
    sources: Mapping[str, Mapping[str, Tensor]],
    weights: Mapping[str, float],
    *,
    base: Mapping[str, Tensor] | None = None,
    parameters: Mapping[str, Any] | None = None,
    statistics: Mapping[str, Mapping[str, Tensor]] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> dict[str, Tensor]:
    """Merges state dicts.

    Args:
        method: a registered method's name, or a method.
        sources: source name -> its state dict; all have the same names, shapes and dtypes. They are read, never
            changed.
        weights: source name -> its merge weight.
        base: the base model's state dict, for methods that work on task vectors.
        parameters: the method's parameters, where they are not its defaults.
        statistics: source name -> tensor name -> what the method needs to know from data (Fisher diagonals, Gram
            matrices).
        seed: the run's seed; draws depend on it, the tensor's and the source's name, never on an order.
        device: where to compute; default: where each tensor is.

    Returns:
        The merged state dict: new tensors of the first source's dtype and device, in its order. Accumulation is in
        float32 (float64 for float64 sources). Integer and boolean buffers must be equal and are copied.

    Raises:
        UserError: unknown method or parameter; weights that don't match the sources; a base missing; names, shapes or
            dtypes that differ; a NaN or an infinity in a source. Tensor and source are named.
    """
    names = list(sources)
    job = plan_job(
        method,
        weights,
        names,
        has_base=base is not None,
        has_statistics=statistics is not None,
        parameters=parameters,
        seed=seed,
        device=device,
    )
    check_same_tensors({name: {key: _signature(tensor) for key, tensor in sources[name].items()} for name in names})
    first = sources[names[0]]
    if base is not None:
        check_same_tensors(
            {
                names[0]: {key: _signature(tensor) for key, tensor in first.items()},
                "base": {key: _signature(tensor) for key, tensor in base.items()},
            }
        )
    stacks = {
        key: Stack(
            key,
            [sources[name][key] for name in names],
            None if base is None else base[key],
            None if statistics is None else [statistics.get(name, {}).get(key) for name in names],
        )
        for key in first
    }
    survey = model_survey(job, stacks.values())
    merged = {}
    for key, tensor in first.items():
        if not tensor.is_floating_point():
            merged[key] = copied_buffer(job, stacks[key])
            continue
        result = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        flat = result.view(-1)
        start = 0
        for piece in combined_pieces(job, stacks[key], survey):
            flat[start : start + piece.numel()] = piece.reshape(-1)
            start += piece.numel()
        merged[key] = result
    return merged


def combined_pieces(job: Job, stack: Stack, survey: Any = None) -> Iterator[Tensor]:
    """The merged tensor in consecutive pieces, in the dtype of the accumulation.

    Args:
        job: the merge.
        stack: the tensor in every source; of a floating dtype.
        survey: what `model_survey` returned.

    Raises:
        UserError: a NaN or an infinity in a source.
    """
    method = job.method
    if method.survey is not None and method.survey_scope(job.parameters) == "tensor":
        survey = method.survey(lambda: pieces_of(job, stack), job.parameters)
    for piece in pieces_of(job, stack):
        yield method.combine(replace(piece, survey=survey), job.parameters)


def model_survey(job: Job, stacks: Any) -> Any:
    """What a method's model-wide survey finds, or None where it has none. `stacks` is iterated as often as it likes."""
    if job.method.survey is None or job.method.survey_scope(job.parameters) != "model":
        return None

    def pieces() -> Iterator[Piece]:
        for stack in stacks:
            if stack.sources[0].is_floating_point():
                yield from pieces_of(job, stack)

    return job.method.survey(pieces, job.parameters)


def pieces_of(job: Job, stack: Stack) -> Iterator[Piece]:
    """Cuts a tensor as its method allows: flat runs of elements, whole rows, or all of it at once."""
    first = stack.sources[0]
    dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
    device = job.device or first.device
    flat = job.method.granularity == "elements"
    if job.method.granularity == "tensor" or (first.dim() < 2 and not flat) or first.numel() == 0:
        length, step = 1, 1

        def cut(tensor: Tensor, start: int, stop: int) -> Tensor:
            return tensor

    elif flat:
        length, step = first.numel(), PIECE

        def cut(tensor: Tensor, start: int, stop: int) -> Tensor:
            return tensor.reshape(-1)[start:stop]

    else:
        length, step = first.shape[0], max(1, PIECE // (first.numel() // first.shape[0]))

        def cut(tensor: Tensor, start: int, stop: int) -> Tensor:
            return tensor[start:stop]

    for start in range(0, length, step):
        stop = min(start + step, length)

        def part(tensor: Tensor, start: int = start, stop: int = stop) -> Tensor:
            return cut(tensor, start, stop).to(device=device, dtype=dtype)

        sources = [part(tensor) for tensor in stack.sources]
        for name, source in zip(job.names, sources, strict=True):
            check_finite(source, stack.name, name)
        base = None if stack.base is None else part(stack.base)
        if base is not None:
            check_finite(base, stack.name, "base")

        def generator(index: int, start: int = start) -> torch.Generator:
            return seeded(job.seed, stack.name, job.names[index], start)

        yield Piece(
            name=stack.name,
            sources=sources,
            weights=job.weights,
            base=base,
            statistics=_statistics(stack, part, dtype, device),
            generator=generator,
        )


def _statistics(stack: Stack, part: Any, dtype: torch.dtype, device: torch.device) -> list[Tensor | None] | None:
    """A statistic of the tensor's own shape is cut like it; any other (a Gram matrix) comes whole."""
    if stack.statistics is None:
        return None
    shape = stack.sources[0].shape
    return [
        None
        if statistic is None
        else part(statistic)
        if statistic.shape == shape
        else statistic.to(device=device, dtype=dtype)
        for statistic in stack.statistics
    ]


def seeded(seed: int, tensor: str, source: str, start: int) -> torch.Generator:
    """A generator on the CPU (so that every device sees the same draws), seeded by run, tensor, source and part."""
    digest = hashlib.blake2b(f"{seed}\0{tensor}\0{source}\0{start}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def copied_buffer(job: Job, stack: Stack) -> Tensor:
    """A copy of an integer or boolean tensor, which cannot be averaged.

    Raises:
        UserError: it differs between two sources.
    """
    first = stack.sources[0]
    for name, other in zip(job.names[1:], stack.sources[1:], strict=True):
        if not torch.equal(first, other.to(first.device)):
            raise UserError(
                f"{stack.name} ({str(first.dtype).removeprefix('torch.')}) differs between {job.names[0]} and {name}: "
                "whole numbers are not averaged, they must be equal"
            )
    return first.clone()


def _signature(tensor: Tensor) -> tuple[tuple[int, ...], str]:
    return tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
