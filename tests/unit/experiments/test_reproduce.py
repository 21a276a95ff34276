"""The command `reproduce`: what comes out again, and what does not."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cli
from mu_lightning.data import registry
from mu_lightning.results.results import PREDICTIONS
from mu_lightning.results.store import RESULTS


def small(models_dir: Path, *words: str) -> list[str]:
    return [*words, "--corpus", "small", "--models-dir", str(models_dir), "--max-workers", "0"]


@pytest.fixture(scope="module")
def made(models_dir: Path, corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a sweep, an ensemble and a matrix in it."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.CORPORA, "small", lambda data_dir: corpus)
        make(folder, models_dir)
        yield folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "results"))


def make(folder: Path, models_dir: Path) -> None:
    near = ["--num-languages", "2", "--top-k", "51"]
    grid = ["--target-languages", "af-ZA", "--methods", "dare_ties", "fisher", "--voting-methods", "soft"]
    grid += ["--baselines", "sources", "--seeds", "3", "--num-fisher-examples", "3"]
    assert cli.main([*small(models_dir, "sweep"), *grid, *near, "--output-dir", str(folder / "sweep")]) == 0
    votes = ["--target-lang", "nl-NL", *near, "--output-dir", str(folder / "votes")]
    assert cli.main([*small(models_dir, "ensemble"), *votes]) == 0
    assert cli.main([*small(models_dir, "nxn"), "--locales", "af-ZA", "--output-dir", str(folder / "nxn")]) == 0


def test_every_result_comes_out_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert cli.main(["reproduce", str(results), "--max-workers", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    # Two merges, a vote and two sources; four votes and two sources; three rows.
    assert lines[-1] == "14 of 14 results are identical"
    assert all(line.startswith("agrees: ") for line in lines[:-1])
    (vote,) = (results / "sweep" / "af-ZA").glob("ensemble-soft-URIEL-*")
    assert cli.main(["reproduce", str(vote)]) == 0
    assert "1 of 1 results" in capsys.readouterr().out


def test_a_result_that_is_not_what_its_recipe_gives_is_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = (results / "sweep" / "af-ZA").glob("source-nl-NL-*")
    with np.load(folder / PREDICTIONS) as stored:
        arrays = dict(stored)
    labels = arrays["labels_0"]
    wrong = np.flatnonzero(arrays["predictions_0"] != labels)[:2]
    arrays["predictions_0"][wrong] = labels[wrong]
    np.savez(folder / PREDICTIONS, **arrays)
    record = json.loads((folder / RESULTS).read_text())
    record["results"][0]["accuracy"] += 2 / len(labels)
    record["versions"]["torch"] = "1.0"
    (folder / RESULTS).write_text(json.dumps(record))
    assert cli.main(["reproduce", str(folder), "--max-workers", "0"]) == 1
    printed = capsys.readouterr().out
    assert f"DIFFERS: {folder}" in printed
    assert "2 of 70 predictions differ" in printed
    assert "torch 1.0 -> " in printed


def test_models_that_have_moved_are_found_and_lost_ones_named(
    results: Path, models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = results / "nxn" / "rows" / "en-US"
    path = folder / RESULTS
    path.write_text(path.read_text().replace(str(models_dir), str(tmp_path / "gone")))
    arguments = ["reproduce", str(folder), "--max-workers", "0"]
    assert cli.main(arguments) == 2
    assert "tiny_small_en-US" in capsys.readouterr().err
    assert cli.main([*arguments, "--models-dir", str(models_dir)]) == 0


def test_a_test_of_a_model_is_run_again(models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = models_dir / "tiny_small_nl-NL"
    arguments = ["test", "--model-path", str(model), "--corpus", "small", "--locales", "af-ZA"]
    quiet = ["--trainer.enable_progress_bar", "false"]
    assert cli.main([*arguments, "--output-dir", str(tmp_path / "scored"), *quiet]) == 0
    assert cli.main(["reproduce", str(tmp_path / "scored")]) == 0
    assert "1 of 1 results are identical" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "message"), [("empty", "no results in"), ("nowhere", "there is no folder")])
def test_nothing_to_reproduce_is_an_error(
    tmp_path: Path, name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert cli.main(["reproduce", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


def test_a_result_without_a_recipe_is_an_error(results: Path, capsys: Any) -> None:
    path = results / "votes" / RESULTS
    record = json.loads(path.read_text())
    del record["recipe"]
    path.write_text(json.dumps(record))
    assert cli.main(["reproduce", str(results / "votes")]) == 2
    assert "no recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ([1], "[1] is there in place of a dict"),
        ({}, "recipe.command: Field required"),
        ({"command": 5}, "recipe.command: Input should be a valid string"),
        ({"problem": []}, "recipe.problem: Input should be a valid dictionary"),
        ({"problem": {"target": 5}}, "the problem: "),
        ({"models": ["x"]}, "recipe.models: Input should be a valid dictionary"),
        ({"models": {"x": {}}}, "recipe.models.x: Input should be a valid string"),
        ({"command": "nxn", "models": {}}, "is of 0 models: expected one"),
    ],
)
def test_a_recipe_of_other_types_is_one_line(results: Path, recipe: Any, message: str, capsys: Any) -> None:
    path = results / "votes" / RESULTS
    record = json.loads(path.read_text())
    record["recipe"] = {**record["recipe"], **recipe} if recipe and isinstance(recipe, dict) else recipe
    path.write_text(json.dumps(record))
    assert cli.main(["reproduce", str(results / "votes"), "--max-workers", "0"]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1
