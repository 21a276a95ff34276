"""A member's learning rate over its own steps."""

from collections.abc import Sequence


class Rate:
    """The factor on a member's learning rate: linear warm-up, then linear decay to 0 over the member's own steps.

    The scheduler counts the run's steps; the member stands still while others train and its own epoch is over.

    Args:
        own: the member's optimizer steps in an epoch, before each of the run's and after the last.
        last: the same of the epoch after `epochs`, which a limit of steps cuts short.
        epochs: whole epochs of the run; negative: it has no end, and the rate does not decay.
        warmup: share of the member's steps in which the rate rises.
    """

    def __init__(self, own: Sequence[int], last: Sequence[int], epochs: int, warmup: float) -> None:
        self.own = own
        self.last = last
        self.epochs = epochs
        self.total = own[-1] * epochs + last[-1]
        self.warm = round(self.total * warmup)

    def done(self, step: int) -> int:
        """The member's own steps before the run's step `step`."""
        epoch, place = divmod(step, len(self.own) - 1)
        if self.epochs < 0 or epoch < self.epochs:
            return epoch * self.own[-1] + self.own[place]
        place = step - self.epochs * (len(self.own) - 1)
        return self.epochs * self.own[-1] + self.last[min(place, len(self.last) - 1)]

    def __call__(self, step: int) -> float:
        """The factor at the run's step `step`, 0 to 1."""
        if self.epochs < 0:
            return 1.0
        done = self.done(step)
        if done < self.warm:
            return (done + 1) / (self.warm + 1)
        return max(0.0, (self.total - done) / max(1, self.total - self.warm))
