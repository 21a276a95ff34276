"""AdamW with moments in bfloat16 and stochastic rounding, with half the memory for the moments."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from mu_lightning.data.batching import seed_of
from mu_lightning.models.optim.optimizer import MOMENTS, MemberAdamW, Stepped

# Elements per chunk: on a CPU limited by the cache, on other devices large enough for full utilization.
CHUNK_SIZE, CHUNK_SIZE_ON_DEVICE = 2**18, 2**22


class RoundedAdamW(MemberAdamW):
    """AdamW with moments in bfloat16: 4 instead of 8 bytes per parameter.

    A step converts the moments to float32, chunk by chunk, steps like AdamW, and rounds the moments to bfloat16.
    Rounding to nearest would not change the second moment: with beta2 = 0.999, changes are smaller than half a unit in
    the last place. Rounding is therefore stochastic (Gupta et al., 2015, https://arxiv.org/abs/1502.02551). The random
    numbers depend on the seed, the member and its number of steps, not on other members, threads or resuming.

    Args:
        groups: parameter groups with a key ``member``, of float32 parameters.
        seed: random seed.
        options: options of AdamW.
    """

    moments_dtype = torch.bfloat16

    def __init__(self, groups: Iterable[dict[str, Any]], seed: int, **options: Any) -> None:
        super().__init__(groups, **options)
        places: dict[str, int] = {}
        for group in self.param_groups:  # these entries are saved in checkpoints
            name = group["member"]
            places[name] = places.get(name, -1) + 1
            group["rounding_seed"] = seed_of(seed, name, "moments", places[name])
            group["roundings"] = 0

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the state of a checkpoint; unlike in torch, the moments keep their dtype bfloat16."""
        stored = state_dict["state"]
        others = {
            number: {key: value for key, value in state.items() if key not in MOMENTS}
            for number, state in stored.items()
        }
        super().load_state_dict({**state_dict, "state": others})
        numbers = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
        parameters = chain.from_iterable(group["params"] for group in self.param_groups)
        for number, parameter in zip(numbers, parameters, strict=True):
            if number in stored:
                moments = {key: stored[number][key].to(parameter.device, torch.bfloat16) for key in MOMENTS}
                self.state[parameter].update(moments)

    def _step_group(self, group: dict[str, Any], found: Sequence[Stepped]) -> None:
        random = torch.Generator(found[0].parameter.device)
        random.manual_seed(seed_of(group["rounding_seed"], group["roundings"]))
        group["roundings"] += 1
        for *tensors, step in found:
            for parameter, gradient, mean, square in _chunks(tensors):
                after = step.clone()  # incremented by each chunk
                wide = mean.float(), square.float()
                super()._step_group(group, [Stepped(parameter, gradient, *wide, after)])
                bits = random_bits(2 * mean.numel(), random).view(2, *mean.shape)
                round_to(mean, wide[0], bits[0])
                round_to(square, wide[1], bits[1])
            step.copy_(after)


def round_to(rounded: Tensor, values: Tensor, bits: Tensor) -> None:
    """Rounds stochastically and without bias to one of the two neighboring values.

    Args:
        rounded: output, bfloat16 of any shape.
        values: input, float32 of that shape; overwritten.
        bits: uniform random int16 of that shape.
    """
    # A bfloat16 is the upper half of a float32, whose magnitude grows with its bits.
    pattern = values.view(torch.int32)
    pattern.add_(bits).add_(2**15)
    rounded.view(torch.int16).copy_(pattern.bitwise_right_shift_(16))


def random_bits(count: int, random: torch.Generator) -> Tensor:
    """Uniform random int16 of shape (count,)."""
    drawn = torch.empty(-(-count // 4), dtype=torch.int64, device=random.device)
    return drawn.random_(-(2**63), None, generator=random).view(torch.int16)[:count]


def _chunks(tensors: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Splits tensors of one shape into chunks, as views; non-contiguous tensors are not split."""
    if not all(tensor.is_contiguous() for tensor in tensors):
        return iter([tensors])
    size = CHUNK_SIZE if tensors[0].device.type == "cpu" else CHUNK_SIZE_ON_DEVICE
    return zip(*(tensor.view(-1).split(size) for tensor in tensors), strict=True)
