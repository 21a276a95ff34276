"""Learning rate schedule over the steps of a member."""

from collections.abc import Sequence


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
