"""The in-memory engine: merges state dicts of loaded models."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mu_lightning.merging.engine.checks import Signature, check_same_tensors, missing_from_base
from mu_lightning.merging.engine.chunked_merge import equal_buffer, merged_chunks, model_statistics, promoted
from mu_lightning.merging.engine.chunks import SourceTensors
from mu_lightning.merging.engine.frozen_rows import FrozenRows
from mu_lightning.merging.engine.job import Override, check_overrides, check_scales, plan_job
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
    frozen_rows: Mapping[str, FrozenRows] | None = None,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> dict[str, Tensor]:
    """Merges state dicts.

    Args:
        method: name of a registered method, or a method.
        sources: state dict of each source. All have the same names, shapes and compatible dtypes; they are not
            modified.
        weights: merge weight of each source.
        base: state dict of the base model, for methods that use task vectors. Tensors that only the base has are
            ignored; a head that the base lacks is averaged.
        parameters: parameters of the method that differ from the defaults.
        overrides: weights and parameters for tensors that match a name pattern.
        statistics: data-dependent statistics (Fisher diagonals, Gram matrices): source name -> tensor name -> tensor.
        frozen_rows: tensor name -> rows that equal the base in all sources and are not stored in sources, base and
            statistics. They are missing from the merged tensor, too; the other rows are merged as in the full tensor.
        seed: random seed. Random masks depend on the seed, the tensor's and the source's name, never on an order.
        device: device of the computation; default: the device of each tensor.

    Returns:
        The merged state dict: new tensors on the device of the first source, in its order, of the sources' dtype
        (promoted if they differ). The computation is in float32 (float64 for float64 sources). Integer and boolean
        buffers must be equal and are copied.

    Raises:
        UserError: unknown method or parameter; weights that don't match the sources; missing base; names, shapes or
            dtypes that differ; a NaN or an infinity in a source. The error names the tensor and the source.
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
    base = base if job.sees_base else None
    if base is not None:
        job = replace(job, missing_in_base=missing_from_base(names[0], signatures[names[0]], _signatures(base)))
        check_scales(job, first)
    all_tensors = [
        SourceTensors(
            key,
            [state[key] for state in sources.values()],
            None if base is None else base.get(key),
            None if statistics is None else [statistics.get(name, {}).get(key) for name in names],
            (frozen_rows or {}).get(key),
        )
        for key in first
    ]
    found = model_statistics(job, all_tensors)
    merged = {}
    for tensors in all_tensors:
        if not tensors.sources[0].is_floating_point():
            merged[tensors.name] = equal_buffer(names, tensors).clone()
            continue
        tensor = tensors.sources[0]
        result = torch.empty(tensor.shape, dtype=promoted(tensors.sources), device=tensor.device)
        flat, start = result.view(-1), 0
        for chunk in merged_chunks(job, tensors, found):
            flat[start : start + chunk.numel()] = chunk.reshape(-1)
            start += chunk.numel()
        merged[tensors.name] = result
    return merged


def _signatures(state: Mapping[str, Tensor]) -> dict[str, Signature]:
    return {name: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in state.items()}
