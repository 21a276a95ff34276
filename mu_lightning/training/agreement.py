"""Checks that all processes of a run have the same weights, by checksums."""

from collections.abc import Mapping

import torch
from torch import Tensor, distributed

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def check_agreement(states: Mapping[str, Mapping[str, Tensor]], when: str) -> None:
    """Compares the checksums of all members between processes; does nothing for a single process.

    It exchanges 8 bytes per tensor and must be called in all processes.

    Args:
        states: member -> state dict, with the same names in the same order in all processes.
        when: context for the error, such as "after merge 3".

    Raises:
        RuntimeError: the processes differ; the error names members and tensors.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return
    mine = {f"{member}: {key}": checksum(tensor) for member, state in states.items() for key, tensor in state.items()}
    found: list[dict[str, int]] = [{} for _ in range(distributed.get_world_size())]
    distributed.all_gather_object(found, {name: int(total) for name, total in mine.items()})
    different = [name for name in mine if len({other.get(name) for other in found}) > 1]
    if different:
        shown = ", ".join(different[:3]) + (", ..." if len(different) > 3 else "")
        raise RuntimeError(
            f"{when} the {len(found)} processes have different weights in {len(different)} of {len(mine)} tensors "
            f"({shown}): the run was stopped; restart it with --resume, and report this error"
        )


def checksum(tensor: Tensor) -> Tensor:
    """Checksum of a tensor: sum of its bits as integers, a 0-dimensional int64."""
    values = tensor.detach().contiguous()
    # The dtype argument avoids a copy of the tensor.
    return values.view(_BITS[values.element_size()]).sum(dtype=torch.int64)
