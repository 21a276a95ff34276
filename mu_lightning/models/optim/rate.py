"""Learning rate schedule over the steps of a member."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mu_lightning.data.turns import Turns


class Rate:
    """Linear warmup and linear decay to 0 of the learning rate, over the steps of one member.

    The scheduler counts the steps of the run, in some of which the member is inactive.

    Args:
        own: the member's optimizer steps in an epoch, before each step of the run and after the last.
        last: the same for a final incomplete epoch, if the number of steps is limited.
        epochs: number of full epochs; negative for no limit, without decay.
        warmup: share of the member's steps for warmup.
    """

    def __init__(self, own: Sequence[int], last: Sequence[int], epochs: int, warmup: float) -> None:
        self.own = own
        self.last = last
        self.epochs = epochs
        self.total = own[-1] * epochs + last[-1]
        self.warm = round(self.total * warmup)

    def done(self, step: int) -> int:
        """Steps of the member before step `step` of the run."""
        epoch, place = divmod(step, len(self.own) - 1)
        if self.epochs < 0 or epoch < self.epochs:
            return epoch * self.own[-1] + self.own[place]
        place = step - self.epochs * (len(self.own) - 1)
        return self.epochs * self.own[-1] + self.last[min(place, len(self.last) - 1)]

    def __call__(self, step: int) -> float:
        """Learning rate factor at step `step` of the run, in [0, 1]."""
        if self.epochs < 0:
            return 1.0
        done = self.done(step)
        if done < self.warm:
            return (done + 1) / (self.warm + 1)
        return max(0.0, (self.total - done) / max(1, self.total - self.warm))


def member_rates(names: Iterable[str], turns: Turns, max_epochs: int | None, warmup: float) -> dict[str, Rate]:
    """The schedule of each member's learning rate.

    Args:
        names: the members.
        turns: which members have a batch when, and the limit of steps.
        max_epochs: of the Trainer; negative for no limit, None for one epoch.
        warmup: share of a member's steps for warmup.
    """
    epochs = 1 if max_epochs is None else max_epochs
    if turns.max_steps is not None:
        whole = turns.max_steps // turns.longest
        epochs = whole if epochs < 0 else min(epochs, whole)
    cut_short = turns.max_steps is not None and epochs == turns.max_steps // turns.longest
    return {
        name: Rate(turns.own_steps(name, 0), turns.own_steps(name, epochs) if cut_short else [0], epochs, warmup)
        for name in names
    }


def rate_scheduler(optimizer: Optimizer, rates: Mapping[str, Rate]) -> LambdaLR:
    """Schedules the learning rate of each parameter group by that of its member."""
    # Partials: the state of callable objects would be saved in checkpoints.
    factors: list[Callable[[int], float]] = [
        partial(Rate.__call__, rates[group["member"]]) for group in optimizer.param_groups
    ]
    return LambdaLR(optimizer, factors)
