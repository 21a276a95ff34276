"""When the fixed schedule merges."""

import pytest

from mu_lightning.errors import UserError
from mu_lightning.schedules import EveryEpochs


@pytest.mark.parametrize(
    ("n", "epochs", "merges"),
    [
        (1, 4, [1, 2, 3, 4]),
        (2, 5, [2, 4, 5]),
        (3, 6, [3, 6]),
        (0, 4, [4]),
        (9, 4, [4]),
    ],
)
def test_it_merges_every_n_epochs_and_at_the_end(n: int, epochs: int, merges: list[int]) -> None:
    schedule = EveryEpochs(n)
    assert [epoch for epoch in range(1, epochs + 1) if schedule.due(epoch, epoch == epochs)] == merges


def test_it_says_why() -> None:
    assert EveryEpochs(1).due(1, True) == "every epoch"
    assert EveryEpochs(2).due(2, False) == "every 2 epochs"
    assert EveryEpochs(2).due(3, True) == "end of training"
    assert EveryEpochs(2).due(3, False) is None


def test_a_negative_frequency_is_refused() -> None:
    with pytest.raises(UserError, match="merge frequency -1: expected a number of epochs, or 0"):
        EveryEpochs(-1)
