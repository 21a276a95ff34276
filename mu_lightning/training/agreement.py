"""Whether all devices hold the same weights: a checksum a tensor, compared between the processes of a run."""

from collections.abc import Mapping

import torch
from torch import Tensor, distributed

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def check_agreement(states: Mapping[str, Mapping[str, Tensor]], when: str) -> None:
    """Compares every member between the processes of a run, bit for bit by checksum; does nothing in a single process.

    It reads each tensor once and exchanges 8 bytes a tensor. Call it in every process.

    Args:
        states: member -> its state dict; all processes hold the same names in the same order.
        when: what has just happened, as the error calls it: "after merge 3".

    Raises:
        RuntimeError: the processes differ; members and tensors are named, in every process.
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
            f"{when} the {len(found)} processes hold different weights in {len(different)} of {len(mine)} tensors "
            f"({shown}): the run must not go on; start it again with --resume from its last checkpoint, and report this"
        )


def checksum(tensor: Tensor) -> Tensor:
    """The sum of a tensor's bits, read as whole numbers of its width: equal for equal bits, a 0-dimensional int64."""
    values = tensor.detach().contiguous()
    # dtype, not a cast before: the sum widens as it goes, and no copy of the tensor is made.
    return values.view(_BITS[values.element_size()]).sum(dtype=torch.int64)
