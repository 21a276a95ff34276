"""Who trains at which step: all at once or in turns, under accumulation and limits."""

from typing import Any

import pytest

from mu_lightning.data.turns import JointLoader, Place, Turns

BATCHES = {"en-US": 8, "de-DE": 5, "nl-NL": 3}


def test_all_at_once_each_has_a_batch_until_its_epoch_is_over() -> None:
    turns = Turns(BATCHES)
    places = turns.places(0)
    assert [len(place.members) for place in places] == [3, 3, 3, 2, 2, 1, 1, 1]
    assert [place.number for place in places] == list(range(8))
    assert {place.group for place in places} == {("en-US", "de-DE", "nl-NL")}
    assert (turns.steps, turns.longest, turns.run_steps) == (8, 8, None)


def test_groups_follow_one_another_each_for_its_whole_epoch() -> None:
    turns = Turns(BATCHES, at_once=2)
    assert turns.groups == (("en-US", "de-DE"), ("nl-NL",))
    places = turns.places(0)
    assert len(places) == 8 + 3
    assert places[8] == Place(("nl-NL",), 0, ("nl-NL",))
    assert turns.own_steps("nl-NL", 0) == [0] * 9 + [1, 2, 3]
    assert turns.own_steps("de-DE", 0) == [0, 1, 2, 3, 4] + [5] * 7


@pytest.mark.parametrize("at_once", [1, 2, 3])
@pytest.mark.parametrize("accumulate", [1, 2, 3, 4])
@pytest.mark.parametrize("max_steps", [None, 1, 3, 4, 7])
def test_a_members_optimizer_steps_are_those_it_makes_alone(
    at_once: int, accumulate: int, max_steps: int | None
) -> None:
    limits: dict[str, Any] = {"accumulate": accumulate, "max_steps": max_steps}
    turns, together = Turns(BATCHES, at_once, **limits), Turns(BATCHES, **limits)

    def steps(layout: Turns, name: str, epoch: int) -> list[tuple[int, ...]]:
        """The member's batches in each of the optimizer steps that it has a part in."""
        places = layout.places(epoch)
        windows = [places[start : start + accumulate] for start in range(0, len(places), accumulate)]
        own = [tuple(place.number for place in window if name in place.members) for window in windows]
        return [batches for batches in own if batches]

    for epoch in range(4):
        for name in BATCHES:
            assert steps(turns, name, epoch) == steps(together, name, epoch)
            assert len(steps(turns, name, epoch)) == turns.own_steps(name, epoch)[-1]
    if max_steps is not None:
        # Lightning stops at that number, and the places of all epochs give exactly so many steps.
        given = sum(-(-len(turns.places(epoch)) // accumulate) for epoch in range(20))
        assert turns.run_steps == given
        assert together.run_steps == max_steps


def test_a_limit_of_batches_holds_for_each_member() -> None:
    assert Turns(BATCHES, limit=4).batches == {"en-US": 4, "de-DE": 4, "nl-NL": 3}


@pytest.mark.parametrize("done", [0, 4, 9])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_an_epoch_goes_on_where_a_resumed_run_had_left_it(data_module: Any, at_once: int, done: int) -> None:
    data = data_module(tuple(BATCHES))
    turns = Turns(data.member_batches(), at_once)

    def rows(loader: JointLoader, epoch: int) -> list[dict[str, list[int]]]:
        loader.set_epoch(epoch)
        return [{name: batch["index"].tolist() for name, batch in step.items()} for step in loader]

    loaders = {name: data.member_loader(name) for name in BATCHES}
    whole, resumed = JointLoader(loaders, turns), JointLoader(loaders, turns)
    assert whole.state_dict() == {"epoch": -1, "batches": 0}
    resumed.load_state_dict({"epoch": 1, "batches": done})
    assert rows(resumed, 1) == rows(whole, 1)[done:]
    assert rows(resumed, 2) == rows(whole, 2)
