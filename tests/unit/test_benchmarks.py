"""What the benchmarks share: a section of the page is replaced, the others stay."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def common() -> Any:
    return load("common")


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks import each other by name, as a program finds what lies beside it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


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


@pytest.mark.usefixtures("beside")
def test_goals_are_read_from_what_a_benchmark_prints(common: Any, capsys: pytest.CaptureFixture[str]) -> None:
    common.goal("embedded size, 8 locales: utterances a second, ours / Trainer", 2.5, at_least=2)
    common.goal("memory in GiB", 3.0, at_most=2.5)
    printed = f"pair 1 of 5\n{capsys.readouterr().out}goal\n"
    assert load("all").goals(printed) == [
        ["embedded size, 8 locales: utterances a second, ours / Trainer", "2.50", "at least 2", "yes"],
        ["memory in GiB", "3.00", "at most 2.5", "NO"],
    ]


@pytest.mark.usefixtures("beside")
def test_stretched_rows_have_one_length_and_their_own_ends() -> None:
    rows = [[0, 5, 6, 2], [0, 7, 2], [0, 8, 9, 10, 2]]
    assert load("training_batches").stretched(rows, 6) == [[0, 5, 6, 7, 8, 2], [0, 7, 8, 9, 10, 2], [0, 8, 9, 10, 5, 2]]


@pytest.mark.usefixtures("beside")
def test_the_three_ways_train_on_the_same_batches_and_lose_alike(tmp_path: Path, tiny_base: Path) -> None:
    ways = load("training_ways")
    locales = ("en-US", "de-DE")
    task = ways.Task(str(tiny_base), locales, batch_size=4, epoch_steps=3, epochs=2, warm=2, learning_rate=1e-3)
    found = {name: way(task, tmp_path / name) for name, way in ways.WAYS.items()}
    for outcome in found.values():
        assert outcome.seconds > 0
        assert [len(outcome.losses[tag]) for tag in locales] == [6, 6]
        for tag in locales:
            assert outcome.losses[tag] == pytest.approx(found["ours"].losses[tag], abs=1e-5)


def test_memory_is_compared_for_members_batches_vocabularies_and_both_sizes(beside: None, tmp_path: Path) -> None:
    memory = load("memory")
    found = set(memory.CONFIGURATIONS.values())
    assert {members for _, members, _, _ in found} >= {1, 2, 6, 12}
    assert {batch for size, _, batch, _ in found if size == "embedded"} == {16, 64, 256}
    assert {(size, vocabulary) for size, _, _, vocabulary in found} >= {("base", "used"), ("base", "full")}
    for base, members, batch, vocabulary in found:
        words = memory.flags(Path(base), members, batch, vocabulary, tmp_path)
        assert ("--target-lang" in words) == (members > 1)
        assert len(words[words.index("--locales") + 1].split(",")) == members
