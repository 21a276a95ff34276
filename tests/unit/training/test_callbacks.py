"""The parts of a run by class path: each leads to a class, and any can be replaced."""

from typing import Any

import pytest

from mu_lightning import callbacks
from mu_lightning.training.callbacks import CLASS_PATHS, OPTIONAL, build_callback, check_callbacks
from mu_lightning.utilities.errors import UserError


def test_every_class_path_leads_to_what_the_package_offers_and_none_is_left_out() -> None:
    check_callbacks(CLASS_PATHS)
    assert sorted(path.rpartition(".")[2] for path in CLASS_PATHS.values()) == sorted(callbacks.__all__)


def test_a_part_is_built_with_what_its_class_takes() -> None:
    stopping = build_callback("member_stopping", {}, 3)
    assert isinstance(stopping, callbacks.MemberStopping)
    assert stopping.patience == 3
    assert isinstance(build_callback("progress", {}, seconds=5.0), callbacks.Progress)


def test_what_only_watches_can_be_left_out() -> None:
    without: dict[str, str | None] = dict.fromkeys(OPTIONAL)
    check_callbacks(without)
    assert [build_callback(name, without) for name in OPTIONAL] == [None] * len(OPTIONAL)


def test_another_class_takes_its_place() -> None:
    replaced: dict[str, str | None] = {"throughput": "lightning.pytorch.callbacks.DeviceStatsMonitor"}
    check_callbacks(replaced)
    assert type(build_callback("throughput", replaced)).__name__ == "DeviceStatsMonitor"
    assert isinstance(build_callback("progress", replaced), callbacks.Progress)


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"guards": "a.B"}, "unknown part of a run 'guards': did you mean guard"),
        ({"guard": "mu_lightning.nowhere.Guard"}, "callbacks.guard is mu_lightning.nowhere.Guard: expected"),
        ({"guard": "mu_lightning.callbacks.Gard"}, "expected the full name of a class, such as mu_lightning"),
        ({"guard": "Guard"}, "callbacks.guard is Guard: expected the full name of a class"),
        ({"guard": "mu_lightning.callbacks.guard"}, "which is not a class"),
        ({"checkpoint": None}, "callbacks.checkpoint is null: optional callbacks are manifest, dashboard"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused_before_anything_begins(
    plan: Any, replaced: dict[str, str | None], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan(locales="nl-NL", callbacks=replaced)
    assert message in str(caught.value)
