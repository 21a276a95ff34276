"""The picture of accuracy around each merge is written whole, as SVG and PNG, and says what it shows."""

import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.monitoring.plots import draw_merges

Make = Callable[..., dict[str, Any]]


def said(svg: Path) -> list[str]:
    """The text of the picture: matplotlib writes each string beside its outlines."""
    return [
        line.strip()[5:-4] for line in svg.read_text(encoding="utf-8").splitlines() if line.strip().startswith("<!-- ")
    ]


@pytest.mark.parametrize(("merges", "members"), [(1, 2), (3, 12), (30, 3)])
def test_it_is_an_svg_and_a_png_that_parse(tmp_path: Path, merge_record: Make, merges: int, members: int) -> None:
    draw_merges(
        [merge_record(index + 1, members, gain=0.02 * (-1) ** index) for index in range(merges)], tmp_path / "m"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.png", "m.svg"]
    assert ElementTree.parse(tmp_path / "m.svg").getroot().tag.endswith("svg")
    content = (tmp_path / "m.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert 4000 > width > height > 300


def test_it_names_targets_members_weights_and_what_was_rolled_back(tmp_path: Path, merge_record: Make) -> None:
    both = ("af-ZA", "sq-AL")
    draw_merges(
        [merge_record(1, targets=both), merge_record(2, gain=-0.1, committed=False, targets=both)], tmp_path / "merges"
    )
    text = said(tmp_path / "merges.svg")
    for target in both:
        assert f"{target}: dev accuracy around each merge" in text
    for words in ("m0, weight 0.33", "ensemble of the members", "merged model", "merged model, rolled back"):
        assert text.count(words) == 2
    assert text.count("41.0 rolled back") == 2
    assert text.count("53.0") == 2


def test_weights_that_change_are_named_as_a_range(tmp_path: Path, merge_record: Make) -> None:
    history = [merge_record(1, 2), merge_record(2, 2)]
    history[1]["targets"]["af-ZA"]["weights"] = {"m0": 0.75, "m1": 0.25}
    draw_merges(history, tmp_path / "merges")
    assert {"m0, weight 0.50 to 0.75", "m1, weight 0.25 to 0.50"} <= set(said(tmp_path / "merges.svg"))


def test_the_same_merges_give_the_same_bytes_and_a_further_one_others(tmp_path: Path, merge_record: Make) -> None:
    draw_merges([merge_record(1)], tmp_path / "one")
    draw_merges([merge_record(1)], tmp_path / "again")
    draw_merges([merge_record(1), merge_record(2)], tmp_path / "two")
    for suffix in ("svg", "png"):
        one, again, two = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("one", "again", "two"))
        assert one == again != two
