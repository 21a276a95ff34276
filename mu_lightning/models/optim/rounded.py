"""AdamW whose moments rest in bfloat16: half the bytes, rounded stochastically so that small changes are not lost."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from mu_lightning.data.batching import seed_of
from mu_lightning.models.optim.optimizer import MOMENTS, MemberAdamW, Stepped

# Elements of a parameter that are stepped at a time: on a CPU what its caches hold, elsewhere enough to keep it busy.
CHUNK_SIZE, PIECE_ON_DEVICE = 2**18, 2**22


class RoundedAdamW(MemberAdamW):
    """The same with moments in bfloat16: 4 bytes a parameter in place of 8.

    A step widens the moments to float32, a piece of a parameter at a time, steps as AdamW does, and rounds them back.
    To nearest, the second moment would not move: beta2 = 0.999 changes it by less than half of bfloat16's last bit. So
    they are rounded stochastically (Gupta et al., 2015, https://arxiv.org/abs/1502.02551). The random numbers hang on
    the seed, the member, and how many steps it has made, and not on other members, threads or resuming.

    Args:
        groups: parameter groups that name a member, of parameters in float32.
        seed: the run's seed.
        options: AdamW's own.
    """

    moments_dtype = torch.bfloat16

    def __init__(self, groups: Iterable[dict[str, Any]], seed: int, **options: Any) -> None:
        super().__init__(groups, **options)
        places: dict[str, int] = {}
        for group in self.param_groups:  # whose entries go into checkpoints
            name = group["member"]
            places[name] = places.get(name, -1) + 1
            group["rounding_seed"] = seed_of(seed, name, "moments", places[name])
            group["roundings"] = 0

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads a checkpoint's state; the moments stay in bfloat16, where torch would widen them to the parameter's."""
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
            for parameter, gradient, mean, square in _pieces(tensors):
                after = step.clone()  # each piece counts it up
                wide = mean.float(), square.float()
                super()._step_group(group, [Stepped(parameter, gradient, *wide, after)])
                bits = random_bits(2 * mean.numel(), random).view(2, *mean.shape)
                round_to(mean, wide[0], bits[0])
                round_to(square, wide[1], bits[1])
            step.copy_(after)


def round_to(rounded: Tensor, values: Tensor, bits: Tensor) -> None:
    """Rounds stochastically: up or down to a neighbor, with the mean of both the value itself.

    Args:
        rounded: is filled, bfloat16 of any shape.
        values: what is rounded, float32 of that shape; it is overwritten.
        bits: random numbers, int16 of that shape, uniform over all that int16 has.
    """
    # A bfloat16 is the upper half of a float32, whose magnitude grows with its bits.
    pattern = values.view(torch.int32)
    pattern.add_(bits).add_(2**15)
    rounded.view(torch.int16).copy_(pattern.bitwise_right_shift_(16))


def random_bits(count: int, random: torch.Generator) -> Tensor:
    """Random numbers, int16 of shape (count,), uniform over all that int16 has; four are drawn at once."""
    drawn = torch.empty(-(-count // 4), dtype=torch.int64, device=random.device)
    return drawn.random_(-(2**63), None, generator=random).view(torch.int16)[:count]


def _pieces(tensors: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    """Tensors of one shape cut alike, as views; whole where their elements do not lie in order."""
    if not all(tensor.is_contiguous() for tensor in tensors):
        return iter([tensors])
    size = CHUNK_SIZE if tensors[0].device.type == "cpu" else PIECE_ON_DEVICE
    return zip(*(tensor.view(-1).split(size) for tensor in tensors), strict=True)
