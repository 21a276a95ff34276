"""The benchmarks: what they share, and that each side of a comparison computes what the other does."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mu_lightning.approaches.base import identity_of
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.reading import read_approach
from mu_lightning.commands import program
from mu_lightning.models.votes import VOTES
from mu_lightning.results.identity import read_identity
from mu_lightning.results.store import Store, StoredCell

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


@pytest.fixture
def workflow(beside: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, at a size that takes seconds."""
    module = load("workflow")
    monkeypatch.setattr(module, "SOURCES", ("en-US", "de-DE"))
    return module


def test_a_study_and_its_script_agree_on_every_member_and_vote(
    workflow: Any, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow, "METHODS", {"linear": {}})
    monkeypatch.setattr(workflow, "DEV_ROWS", 5)
    size = workflow.Size(40, 30, 2, 8, 16, 1e-3)
    study = workflow.prepare(tmp_path, tiny_base, size)
    for number in range(2):
        command = workflow.commands(tmp_path, study, size.epochs)[number]
        assert program.main([*command, "--max-workers", "0"]) == 0
    found, study["weights"] = workflow.results(tmp_path)
    assert set(study["weights"]) == {"equal", "uriel", "shuffled"}
    script = load("workflow_rival").Study(study, tmp_path)
    other = script.members()
    assert set(other) == {name for name in found if not name.startswith("linear ")}
    assert {f"linear {name}" for name in study["weights"]} == set(found) - set(other)
    assert len(set(other.values())) > 2
    assert other == pytest.approx({name: found[name] for name in other}, abs=1.5 / size.test_rows)


@pytest.mark.usefixtures("beside")
def test_votes_by_hand_are_ours() -> None:
    logits = torch.randn(5, 400, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.1])
    found = load("workflow_rival").votes(logits.numpy(), weights.tolist())
    assert list(found) == list(VOTES)
    for name, vote in VOTES.items():
        assert found[name].tolist() == vote(logits, weights).argmax(-1).tolist()


def test_without_mergekit_a_study_says_so_in_a_line(
    workflow: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["workflow.py", "--mergekit", "/nowhere/mergekit-yaml"])
    assert workflow.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no mergekit: pip install")


def test_memory_is_of_a_process_and_of_those_that_it_starts(common: Any) -> None:
    hold = "import time; held = b'x' * {size}; time.sleep(0.5)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold.format(size='int(2e8)')!r}])"
    seconds, memory = common.measured([sys.executable, "-c", f"held = b'x' * int(1e8); {start}"])
    assert seconds > 0.5
    assert 0.3 < memory < 0.45


@pytest.mark.usefixtures("beside")
def test_iterative_is_a_sweep_whose_cells_are_told_apart_by_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    iterative = load("iterative")
    monkeypatch.setattr("sys.argv", ["iterative.py", "--folder", str(tmp_path), "--seeds", "0", "1"])
    options = iterative.arguments()
    assert len(iterative.grid(options)["approaches"]) == len(iterative.STRATEGIES)
    problem = Problem("af-ZA")
    cells = []
    for number, entry in enumerate(iterative.STRATEGIES.values()):
        for seed in options.seeds:
            identity = identity_of(problem, read_approach(entry | {"num_languages": 6}), seed, ("nl-NL",))
            identity = read_identity(json.loads(json.dumps(identity.plain())))
            cells.append(StoredCell(tmp_path, number, identity, 0.5, 0.5, (0.4, 0.6), 10))
    monkeypatch.setattr(iterative, "read_store", lambda folder: Store(folder, tuple(cells), (), (), ()))
    found = iterative.cells_of(options)
    places = {name: {cell.place for cell in own.values()} for (name, _), own in found.items()}
    assert places == {name: {number} for number, name in enumerate(iterative.STRATEGIES)}
    cells.append(cells[-1])
    with pytest.raises(SystemExit, match="holds several 'joint training'"):
        iterative.cells_of(options)


REPORT = """# Results

## Summary

- One row.

**The plain questions.** An answer. ([CSV](tables/questions.csv), [LaTeX](tables/questions.tex))

| question | answer |
| --- | --- |
| Does merging while training beat merging once? | yes |

## Methods by targets

![Mean accuracy](figures/accuracy.svg)

*Mean accuracy. 95 % intervals.*

| method | mean |
| --- | --- |
| iterative | 50.0 |

## Costs

left out
"""


@pytest.mark.usefixtures("beside")
def test_the_part_on_approaches_has_the_table_and_the_answers(tmp_path: Path) -> None:
    results = load("results")
    (tmp_path / "report.md").write_text(REPORT, encoding="utf-8")
    times = dict.fromkeys(results.approaches_steps(), 61.0)
    text = results.approaches_section(tmp_path, times)
    assert "python cli.py sweep --config configs/experiment/approaches-cldr.yaml" in text
    assert "| Does merging while training beat merging once? | yes |" in text
    assert "| iterative | 50.0 |" in text
    assert "| **together** | **0:02:02** |" in text
    assert not any(word in text for word in ("figures/", "tables/", "left out", "*Mean accuracy"))


@pytest.mark.usefixtures("beside")
def test_the_study_s_page_keeps_what_stands_between_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = load("results")
    place = tmp_path / "page.md"
    place.write_text(
        "old\n<!-- reading -->\nread\n<!-- end of reading -->\n<!-- approaches -->\nnew\n<!-- end of approaches -->\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(results, "page_of", lambda options: place)
    monkeypatch.setattr(results, "reported", lambda corpus: "## Summary")
    monkeypatch.setattr("sys.argv", ["results.py", "cldr"])
    options = results.arguments()
    text = results.page(options, dict.fromkeys(results.steps(options), 1.0))
    assert results.between(text, results.READING) == "read"
    assert results.between(text, results.APPROACHES_MARKS) == "new"
    assert "old" not in text
