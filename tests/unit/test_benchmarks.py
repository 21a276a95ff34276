"""What the benchmarks share: a section of the page is replaced, the others stay."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def common() -> Any:
    spec = importlib.util.spec_from_file_location("common", BENCHMARKS / "common.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_section_is_replaced_and_the_others_stay_in_their_order(common: Any, tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    common.write_section("merge", "## Merging\n\none\n", page)
    common.write_section("evaluation", "## Evaluation\n\ntwo", page)
    common.write_section("merge", "## Merging\n\nthree", page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Benchmarks\n")
    assert [line for line in text.splitlines() if line and not line.startswith(("# ", "Each"))] == [
        "<!-- merge -->",
        "## Merging",
        "three",
        "<!-- end of merge -->",
        "<!-- evaluation -->",
        "## Evaluation",
        "two",
        "<!-- end of evaluation -->",
    ]


def test_a_machine_is_named_with_its_cores(common: Any) -> None:
    assert " cores, " in common.machine()
    assert "GiB" in common.machine()


def test_the_command_is_named_without_what_says_where_things_lie(common: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/merge.py", "--folder", "/elsewhere", "--repeats", "3"])
    text = common.provenance("torch", hidden=("--folder",))
    assert text.startswith("`python benchmarks/merge.py --repeats 3`")
    assert "/" not in text.replace("benchmarks/merge.py", "")


def test_a_goal_is_said_to_hold_or_to_be_missed(common: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert common.goal("speed, ours / other", 2.5, at_least=2)
    assert not common.goal("memory in GiB", 3.0, at_most=2.5)
    assert capsys.readouterr().out.splitlines() == [
        "goal holds: speed, ours / other: 2.50, at least 2",
        "goal missed: memory in GiB: 3.00, at most 2.5",
    ]
