"""Order of the members' batches: all members together, or in turns if not all fit on the device."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from torch.utils.data import DataLoader

from mu_lightning.data.encoding import Batch


class Place(NamedTuple):
    """One batch of the run within its epoch.

    Attributes:
        members: active members; empty for batches that complete the last optimizer step of a turn.
        number: index of the batch in the epoch of these members.
        group: members on the device.
    """

    members: tuple[str, ...]
    number: int
    group: tuple[str, ...]


class Turns:
    """The order of the members' batches in an epoch.

    Groups of `at_once` members train one after another, each for a full epoch. A member has the same batches in the
    same optimizer steps for any grouping, so its weights do not depend on the grouping.

    Args:
        batches: member -> number of batches per epoch.
        at_once: number of members on the device; 0 for all.
        accumulate: number of batches per optimizer step.
        limit: maximum number of batches per member and epoch; None for no limit.
        max_steps: maximum number of optimizer steps of the longest member; None for no limit.
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
        """Optimizer steps per epoch of the longest member."""
        return -(-max(self.batches.values()) // self.accumulate)

    @property
    def steps(self) -> int:
        """Optimizer steps per epoch of the run."""
        return -(-len(self._whole) // self.accumulate)

    @property
    def run_steps(self) -> int | None:
        """Optimizer steps of the run until `max_steps`, over all groups; None without a limit."""
        if self.max_steps is None:
            return None
        epochs = self.max_steps // self.longest
        return epochs * self.steps + -(-len(self.places(epochs)) // self.accumulate)

    def places(self, epoch: int) -> tuple[Place, ...]:
        """Batches of an epoch, from 0; empty after `max_steps`."""
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
        """Optimizer steps of a member in the epoch, before each step of the run and after the last."""
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
            if group != self.groups[-1]:  # complete the optimizer step before the next group
                result += [Place((), number, group) for number in range(longest, longest + -longest % self.accumulate)]
        return tuple(result)


class JointLoader:
    """Yields ``{member: batch}`` for the active members.

    It can resume within an epoch: batches are a function of the epoch, so its state is two numbers.

    Args:
        loaders: member -> train loader.
        turns: order of the batches.
        fixed_order: whether all epochs have the batches of the first one.
    """

    def __init__(self, loaders: Mapping[str, "DataLoader[Batch]"], turns: Turns, fixed_order: bool = False) -> None:
        self.loaders = dict(loaders)
        self.turns = turns
        self.fixed_order = fixed_order
        self.sampler = self  # Lightning calls set_epoch on the sampler
        self.epoch = 0
        self._begun: tuple[int, int] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iteration."""
        self.epoch = epoch
        for loader in self.loaders.values():
            loader.sampler.set_epoch(0 if self.fixed_order else epoch)  # type: ignore[attr-defined]

    def state_dict(self) -> dict[str, int]:
        """Returns the state at the start of an epoch; checkpoints within an epoch adjust it."""
        return {"epoch": -1, "batches": 0}

    def load_state_dict(self, state_dict: Mapping[str, int]) -> None:
        """Resumes an epoch after a number of batches."""
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
    """Yields the batches of a loader from `start` on, without creating earlier ones."""
    return (loader.dataset[item] for item in islice(loader.sampler, start, None))
