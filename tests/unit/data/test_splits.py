from collections import Counter

import pytest

from mu_lightning.data.splits import ALL_SHARES, DEV_SHARE, draw_splits, split_named


def test_a_draw_is_stratified_and_the_same_again() -> None:
    units = list(range(300))
    labels = ["rare" if unit % 10 == 0 else "common" for unit in units]
    splits = draw_splits(units, labels, ALL_SHARES, seed=0)
    assert splits == draw_splits(units, labels, ALL_SHARES, seed=0) != draw_splits(units, labels, ALL_SHARES, seed=1)
    found = Counter(zip(labels, splits, strict=True))
    assert found == {
        **{("common", "train"): 189, ("common", "dev"): 27, ("common", "test"): 54},
        **{("rare", "train"): 21, ("rare", "dev"): 3, ("rare", "test"): 6},
    }


def test_rows_of_one_unit_get_one_split_and_a_known_one_is_kept() -> None:
    units = [f"id{place % 40}" for place in range(120)]
    splits = draw_splits(units, ["a"] * 120, ALL_SHARES, 0, fixed={"id7": "test", "id8": "dev"})
    assert all(len({split for unit, split in zip(units, splits, strict=True) if unit == one}) == 1 for one in units)
    assert (splits[7], splits[8]) == ("test", "dev")


@pytest.mark.parametrize(("rows", "dev", "test"), [(1, 0, 0), (2, 0, 0), (3, 1, 1), (10, 1, 2)])
def test_a_label_of_few_rows_is_trained_on_first(rows: int, dev: int, test: int) -> None:
    found = Counter(draw_splits(list(range(rows)), ["a"] * rows, ALL_SHARES, 0))
    assert (found["dev"], found["test"], found["train"]) == (dev, test, rows - dev - test)


def test_dev_rows_alone_can_be_drawn() -> None:
    assert Counter(draw_splits(list(range(50)), ["a"] * 50, DEV_SHARE, 0)) == {"train": 45, "dev": 5}


def test_splits_go_by_their_usual_names() -> None:
    assert [split_named(name) for name in ("Train", "validation", "val", " test ", "unsupervised")] == [
        *("train", "dev", "dev", "test", None)
    ]
