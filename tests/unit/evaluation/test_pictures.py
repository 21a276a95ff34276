"""The picture of accuracy around each merge is written whole, as SVG and PNG, and says what it shows."""

import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.evaluation.pictures import draw_merges


def record(index: int, members: int = 3, gain: float = 0.02, committed: bool = True) -> dict[str, Any]:
    names = [f"m{place}" for place in range(members)]
    before = {name: 0.5 + 0.01 * place for place, name in enumerate(names)}
    mean = sum(before.values()) / members
    found = {
        "weights": dict.fromkeys(names, 1 / members),
        "before": {**before, "ensemble": 0.6},
        "mean_before": mean,
        "after": mean + gain,
        "gain": gain,
        "committed": committed,
    }
    return {"index": index, "committed": committed, "targets": {"af-ZA": found}}


def comments(svg: Path) -> str:
    """The text of the picture: matplotlib writes each string beside its outlines."""
    return svg.read_text(encoding="utf-8")


@pytest.mark.parametrize("merges", [1, 3, 20])
@pytest.mark.parametrize("members", [2, 12])
def test_it_is_an_svg_and_a_png_that_parse(tmp_path: Path, merges: int, members: int) -> None:
    history = [record(index + 1, members, gain=0.02 * (-1) ** index) for index in range(merges)]
    draw_merges(history, "af-ZA", tmp_path / "merges")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merges.png", "merges.svg"]
    assert ElementTree.parse(tmp_path / "merges.svg").getroot().tag.endswith("svg")
    content = (tmp_path / "merges.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    assert width > height > 300


def test_it_names_target_members_weights_and_what_was_rolled_back(tmp_path: Path) -> None:
    draw_merges([record(1), record(2, gain=-0.1, committed=False)], "af-ZA", tmp_path / "merges")
    text = comments(tmp_path / "merges.svg")
    for said in ("af-ZA: dev accuracy around each merge", "m0, weight 0.33", "ensemble of the members", "merged model"):
        assert f"<!-- {said} -->" in text
    assert "0.410 rolled back" in text
    assert "0.530 rolled back" not in text


def test_a_later_picture_replaces_an_earlier_one(tmp_path: Path) -> None:
    draw_merges([record(1)], "af-ZA", tmp_path / "merges")
    before = (tmp_path / "merges.png").read_bytes()
    draw_merges([record(1), record(2)], "af-ZA", tmp_path / "merges")
    assert (tmp_path / "merges.png").read_bytes() != before
    assert len(list(tmp_path.iterdir())) == 2
