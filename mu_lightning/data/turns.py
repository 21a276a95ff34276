"""Which members train at which step of an epoch: all at once, or in turns where not all fit on the device."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from torch.utils.data import DataLoader

from mu_lightning.data.encoding import Batch


class Place(NamedTuple):
    """One batch of the run within its epoch.

    Attributes:
        members: the members that have a batch of their own here; a shorter one is over sooner, and the batches that
            fill up the last optimizer step of a turn have none.
        number: the number of that batch in the epoch of each of them.
        group: all members whose turn it is.
    """

    members: tuple[str, ...]
    number: int
    group: tuple[str, ...]


class Turns:
    """The order in which members take their batches of an epoch.

    Groups of `at_once` members have the device one after another, each for its whole epoch. A member meets the same
    batches in the same optimizer steps whatever the groups are, so its weights do not depend on them.

    Args:
        batches: member -> batches in its epoch.
        at_once: members on the device at a time; 0: all.
        accumulate: batches in an optimizer step.
        limit: at most so many of a member's batches are used in an epoch; None: all.
        max_steps: the run ends when the longest member has made so many optimizer steps; None: it goes on.
    """

    def __init__(
        self,
        batches: Mapping[str, int],
        at_once: int = 0,
        accumulate: int = 1,
        limit: int | None = None,
        max_steps: int | None = None,
    ) -> None:
        self.batches = {name: count if limit is None else min(count, limit) for name, count in batches.items()}
        self.accumulate = accumulate
        self.max_steps = max_steps
        names = tuple(self.batches)
        size = at_once or len(names)
        self.groups = tuple(names[start : start + size] for start in range(0, len(names), size))
        self._whole = self._places(None)

    @property
    def longest(self) -> int:
        """Optimizer steps of the longest member in an epoch."""
        return -(-max(self.batches.values()) // self.accumulate)

    @property
    def steps(self) -> int:
        """The run's optimizer steps in a whole epoch."""
        return -(-len(self._whole) // self.accumulate)

    @property
    def run_steps(self) -> int | None:
        """The run's optimizer steps until `max_steps`, those of all groups; None without that limit."""
        if self.max_steps is None:
            return None
        epochs = self.max_steps // self.longest
        return epochs * self.steps + -(-len(self.places(epochs)) // self.accumulate)

    def places(self, epoch: int) -> tuple[Place, ...]:
        """The run's batches in an epoch, counted from 0; none after `max_steps`."""
        if self.max_steps is None:
            return self._whole
        remaining = max(0, self.max_steps - epoch * self.longest)
        return self._whole if remaining >= self.longest else self._places(remaining * self.accumulate)

    def batches_of_step(self, epoch: int, batch: int) -> Counter[str]:
        """Member -> how many batches it has in the optimizer step that the run's batch `batch` of an epoch belongs to.

        The last step of an epoch, and the last one of a member's epoch, have fewer than `accumulate`.
        """
        start = batch // self.accumulate * self.accumulate
        places = self.places(epoch)[start : start + self.accumulate]
        return Counter(name for place in places for name in place.members)

    def own_steps(self, name: str, epoch: int) -> list[int]:
        """How many optimizer steps of the epoch the member has made before each of the run's, and after the last."""
        places, steps = self.places(epoch), [0]
        for start in range(0, len(places), self.accumulate):
            own = any(name in place.members for place in places[start : start + self.accumulate])
            steps.append(steps[-1] + own)
        return steps

    def _places(self, limit: int | None) -> tuple[Place, ...]:
        result = []
        for group in self.groups:
            longest = max(self.batches[name] for name in group)
            longest = longest if limit is None else min(longest, limit)
            result += [
                Place(tuple(name for name in group if number < self.batches[name]), number, group)
                for number in range(longest)
            ]
            if group != self.groups[-1]:  # the next group's first optimizer step must not begin with this one's rest
                result += [Place((), number, group) for number in range(longest, longest + -longest % self.accumulate)]
        return tuple(result)


class JointLoader:
    """``{member: batch}`` a step, of the members whose turn it is and whose epoch is not over.

    A resumed run continues it in the middle of an epoch: batches follow from the epoch, so two numbers are its state.

    Args:
        loaders: member -> its batches.
        turns: who is next.
    """

    def __init__(self, loaders: Mapping[str, "DataLoader[Batch]"], turns: Turns) -> None:
        self.loaders = dict(loaders)
        self.turns = turns
        self.sampler = self  # Lightning tells the sampler of each loader which epoch begins
        self.epoch = 0
        self._begun: tuple[int, int] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next iteration gives."""
        self.epoch = epoch
        for loader in self.loaders.values():
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, int]:
        """Nothing of an epoch is done; whoever saves in the middle of one knows how far it is."""
        return {"epoch": -1, "batches": 0}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Lets that epoch begin after so many batches of the run."""
        self._begun = (state_dict["epoch"], state_dict["batches"])

    def __len__(self) -> int:
        return len(self.turns.places(0))

    def __iter__(self) -> Iterator[dict[str, Batch]]:
        epoch, done = self._begun or (-1, 0)
        done = done if epoch == self.epoch else 0
        places = self.turns.places(self.epoch)
        had = Counter(name for place in places[:done] for name in place.members)
        batches = {name: _from(loader, had[name]) for name, loader in self.loaders.items()}
        for place in places[done:]:
            yield {name: next(batches[name]) for name in place.members}


def _from(loader: "DataLoader[Batch]", start: int) -> Iterator[Batch]:
    """The loader's batches after the first `start`, of which none is made."""
    return (loader.dataset[item] for item in islice(loader.sampler, start, None))
