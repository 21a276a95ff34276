"""The engine in memory: merges state dicts, for the training callback and for whoever has the models loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mu_lightning.merging.engine.checks import Signature, check_same_tensors, lacking_in_base
from mu_lightning.merging.engine.frozen_rows import LeftOut
from mu_lightning.merging.engine.job import Override, check_overrides, plan_job
from mu_lightning.merging.engine.parts import Stack
from mu_lightning.merging.engine.pieces import combined_pieces, equal_buffer, model_survey, promoted
from mu_lightning.merging.method import Method


@torch.no_grad()
def merge_tensors(
    method: str | Method,
    sources: Mapping[str, Mapping[str, Tensor]],
    weights: Mapping[str, float],
    *,
    base: Mapping[str, Tensor] | None = None,
    parameters: Mapping[str, Any] | None = None,
    overrides: Sequence[Override] = (),
    statistics: Mapping[str, Mapping[str, Tensor]] | None = None,
    left_out: Mapping[str, LeftOut] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> dict[str, Tensor]:
    """Merges state dicts.

    Args:
        method: a registered method's name, or a method.
        sources: source name -> its state dict; all have the same names, shapes and dtypes. They are read, never
            changed.
        weights: source name -> its merge weight.
        base: the base model's state dict, for methods that work on task vectors. What only the base has is ignored; a
            head that it lacks as a whole is averaged.
        parameters: the method's parameters, where they are not its defaults.
        overrides: other weights and parameters for tensors by name pattern.
        statistics: source name -> tensor name -> what the method needs to know from data (Fisher diagonal, Gram
            matrix).
        left_out: tensor name -> the rows that sources, base and statistics lack of it, all being the base's; the merged
            tensor lacks them too, and has in its other rows what a merge of whole tensors gives there.
        seed: the run's seed; draws depend on it, the tensor's and the source's name, never on an order.
        device: where to compute; default: where each tensor is.

    Returns:
        The merged state dict: new tensors on the first source's device, in its order, of the sources' dtype (promoted
        where they differ). Accumulation is in float32 (float64 for float64 sources). Integer and boolean buffers must
        be equal and are copied.

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
        overrides=overrides,
        seed=seed,
        device=device,
    )
    signatures = {name: _signatures(state) for name, state in sources.items()}
    check_same_tensors(signatures)
    first = sources[names[0]]
    check_overrides(overrides, first)
    base = base if job.method.sees_base else None
    if base is not None:
        job = replace(job, headless=lacking_in_base(names[0], signatures[names[0]], _signatures(base)))
    stacks = [
        Stack(
            key,
            [state[key] for state in sources.values()],
            None if base is None else base.get(key),
            None if statistics is None else [statistics.get(name, {}).get(key) for name in names],
            (left_out or {}).get(key),
        )
        for key in first
    ]
    survey = model_survey(job, stacks)
    merged = {}
    for stack in stacks:
        if not stack.sources[0].is_floating_point():
            merged[stack.name] = equal_buffer(names, stack).clone()
            continue
        tensor = stack.sources[0]
        result = torch.empty(tensor.shape, dtype=promoted(stack.sources), device=tensor.device)
        flat, start = result.view(-1), 0
        for piece in combined_pieces(job, stack, survey):
            flat[start : start + piece.numel()] = piece.reshape(-1)
            start += piece.numel()
        merged[stack.name] = result
    return merged


def _signatures(state: Mapping[str, Tensor]) -> dict[str, Signature]:
    return {name: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in state.items()}
