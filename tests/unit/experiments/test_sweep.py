"""The verb `sweep`: each cell is what it is alone, finished ones are skipped, failed ones recorded, grids checked."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import cli
from mu_lightning.approaches.comparison import merge_once
from mu_lightning.approaches.evaluation_context import FileTensors
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.ensemble import Ensemble
from mu_lightning.results.store import Cell, Store, read_store
from mu_lightning.settings import MergeSettings
from mu_lightning.typology.plan import TypologySettings, plan_sources, reweighted

MODELS = ("de-DE", "en-US", "nl-NL")
GRID: dict[str, Any] = {
    "target_languages": ["af-ZA", "nl-NL"],
    "methods": ["linear", {"method": "ties", "parameters": {"density": 0.5}}, "slerp", "dare_ties"],
    "preweights": ["equal", "uriel", "shuffled"],
    "voting_methods": ["majority", "soft"],
    "num_languages": 2,
    "seeds": [0, 1],
    "baselines": ["native", "zero_shot"],
    "top_k": 51,
}


def sweep(models_dir: Path, output: Path, grid: dict[str, Any], *more: str, workers: int = 0) -> int:
    output.parent.mkdir(exist_ok=True, parents=True)
    path = output.parent / f"{output.name}.yaml"
    path.write_text(yaml.safe_dump(grid))
    common = ["--corpus", "small", "--models-dir", str(models_dir), "--batch-size", "16", "--max-workers", str(workers)]
    return cli.main(["sweep", "--config", str(path), *common, "--output-dir", str(output), *more])


@pytest.fixture(scope="module")
def store(models_dir: Path, corpus: Any, tmp_path_factory: pytest.TempPathFactory) -> Store:
    from mu_lightning.data import registry

    output = tmp_path_factory.mktemp("sweep") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.CORPORA, "small", lambda data_dir: corpus)
        assert sweep(models_dir, output, GRID) == 0
    return read_store(output)


def only(store: Store, **fields: Any) -> Cell:
    (found,) = [cell for cell in store.cells if all(getattr(cell, name) == value for name, value in fields.items())]
    return found


def classifiers(models_dir: Path) -> dict[str, IntentClassifier]:
    return {tag: IntentClassifier.from_folder(models_dir / f"tiny_small_{tag}") for tag in MODELS}


def test_it_has_each_cell_once_and_what_cannot_differ_is_run_once(store: Store) -> None:
    assert (store.failed, store.damaged) == ((), ())
    keys = {cell.folder.name for cell in store.cells if cell.target == "nl-NL"}
    plain = ("linear", "ties_density-0.5", "slerp")
    merges = {f"merge_{method}_{weights}_n2" for method in plain for weights in ("equal", "uriel")}
    shuffled = {f"merge_{method}_shuffled_n2_seed{seed}" for method in plain for seed in (0, 1)}
    dare = {f"merge_dare_ties_{weights}_n2_seed{seed}" for weights in GRID["preweights"] for seed in (0, 1)}
    votes = {"ensemble_majority_n2", "ensemble_soft_equal_n2", "ensemble_soft_uriel_n2"}
    votes |= {"ensemble_soft_shuffled_n2_seed0", "ensemble_soft_shuffled_n2_seed1"}
    assert keys == merges | shuffled | dare | votes | {"native", "source_de-DE", "source_en-US"}


def test_a_merge_is_the_merge_scored(store: Store, models_dir: Path, data_module: Any) -> None:
    plan = plan_sources("af-ZA", available=MODELS, num_languages=2, settings=TypologySettings(top_k=51))
    loaders = data_module(max_length=64).eval_loaders("test", ["af-ZA"])
    members = {tag: found for tag, found in classifiers(models_dir).items() if tag in plan.sources}
    for preweight, seed in (("uriel", 0), ("shuffled", 1)):
        weights = reweighted(plan, preweight, seed)
        ordered = {tag: members[tag] for tag in plan.sources}
        expected = evaluate(merge_once(ordered, weights, MergeSettings(), 0), loaders)["af-ZA"]
        found = only(store, target="af-ZA", method="linear", preweight=preweight, seed=seed)
        assert found.weights == weights
        assert found.predictions().predictions.tolist() == expected.predictions.tolist()
        assert found.sources == plan.sources
        assert "Method: linear" in (found.merge_details or "")


def test_a_vote_is_the_ensemble_scored(store: Store, models_dir: Path, data_module: Any) -> None:
    found = only(store, target="af-ZA", vote="soft", preweight="uriel")
    members = classifiers(models_dir)
    module = Ensemble({tag: members[tag] for tag in found.sources}, found.weights, "soft")
    expected = evaluate(module, data_module(max_length=64).eval_loaders("test", ["af-ZA"]))["af-ZA"]
    assert found.predictions().predictions.tolist() == expected.predictions.tolist()
    merged = only(store, target="af-ZA", method="linear", preweight="uriel")
    assert found.cost.model_bytes == 2 * (merged.cost.model_bytes or 0) > 0


def test_a_source_that_is_among_the_voters_scores_as_it_does_alone(
    store: Store, models_dir: Path, data_module: Any
) -> None:
    loaders = data_module(max_length=64).eval_loaders("test", ["af-ZA"])
    for tag, model in classifiers(models_dir).items():
        found = only(store, target="af-ZA", experiment_type="source", sources=(tag,))
        assert found.predictions().predictions.tolist() == evaluate(model, loaders)["af-ZA"].predictions.tolist()
        assert found.supervision == "none"
    assert only(store, target="nl-NL", method="native").supervision == "target-labels"


def test_finished_cells_are_skipped_and_a_damaged_or_failed_one_is_made_anew(
    store: Store, models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results"
    shutil.copytree(store.folder, output)
    times = {path: path.stat().st_mtime_ns for path in output.glob("*/*/results.json")}
    damaged, failed = output / "af-ZA" / "merge_linear_uriel_n2", output / "af-ZA" / "merge_ties_density-0.5_uriel_n2"
    (damaged / "predictions.npz").write_bytes(b"half")
    shutil.rmtree(failed)
    failed.mkdir()
    (failed / "error.json").write_text(json.dumps({"error": "gone", "cell": {}, "traceback": ""}))
    foreign = output / "af-ZA" / "source_nl-NL"
    (foreign / "results.json").unlink()
    (foreign / "notes.txt").write_text("somebody's")
    (output / ".sweep.json.0000aaaa.tmp").write_text("half")
    assert sweep(models_dir, output, GRID) == 0
    printed = capsys.readouterr().out
    assert (output / "af-ZA" / "source_nl-NL-2" / "notes.txt").read_text() == "somebody's"
    assert not list(output.rglob(".*"))
    assert f"{len(times) - 3} of {len(times)} cells are there already" in printed
    assert "1 cells failed before and are tried again" in printed
    after = read_store(output)
    assert (len(after.cells), after.failed, after.damaged) == (len(store.cells), (), ())
    changed = {path.parent for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {damaged, failed, foreign}
    for cell, again in zip(store.cells, after.cells, strict=True):
        assert cell.predictions().predictions.tolist() == again.predictions().predictions.tolist()


@pytest.mark.parametrize("content", ["", "[" * 10**5, "{}", '{"scoring": {}, "models": []}'])
def test_a_damaged_manifest_is_an_error_and_nothing_is_changed(
    models_dir: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.json").write_text(content)
    assert sweep(models_dir, tmp_path, {"target_languages": "af-ZA", "methods": "linear", "num_languages": 2}) == 2
    assert "sweep.json" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.json"]


def test_what_a_kill_left_before_the_manifest_was_there_is_no_obstacle(models_dir: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    output.mkdir()
    (output / ".sweep.json.0000aaaa.tmp").write_text("half")
    assert sweep(models_dir, output, {"target_languages": "af-ZA", "methods": "linear", "num_languages": 2}) == 0
    assert not list(output.rglob(".*"))


def test_a_cell_that_fails_is_recorded_and_the_rest_go_on(
    models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = FileTensors.load

    def broken(self: FileTensors) -> Any:
        if "en-US" in self.path.name:
            raise OSError("the disk is gone")
        return load(self)

    monkeypatch.setattr(FileTensors, "load", broken)
    grid = {"target_languages": "af-ZA", "voting_methods": "soft", "methods": "linear", "num_languages": [1, 3]}
    grid |= {"top_k": 51, "baselines": "sources"}
    assert sweep(models_dir, tmp_path / "results", grid) == 1
    found = read_store(tmp_path / "results")
    assert {cell.folder.name for cell in found.cells} == {
        "merge_linear_uriel_n1",
        "ensemble_soft_uriel_n1",
        "source_nl-NL",
        "source_de-DE",
    }
    assert {failure.folder.name for failure in found.failed} == {
        "merge_linear_uriel_n3",
        "ensemble_soft_uriel_n3",
        "source_en-US",
    }
    assert {failure.error for failure in found.failed} == {"OSError: the disk is gone"}
    assert found.failed[0].cell["target"] == "af-ZA"
    assert "failed: " in capsys.readouterr().out


def test_methods_that_learn_from_texts_learn_once_for_each_source_and_say_what_they_read(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mu_lightning.approaches.from_text.learning import LearningTask

    learnt = []
    learn = LearningTask._learn

    def counting(self: LearningTask, bench: Any) -> Any:
        learnt.append(self.name)
        return learn(self, bench)

    monkeypatch.setattr(LearningTask, "_learn", counting)
    grid = {
        "target_languages": ["af-ZA", "nl-NL"],
        "methods": ["fisher", "regmean", "regmean_plus"],
        "preweights": ["equal", "uriel"],
        "num_languages": 2,
        "top_k": 51,
        "num_fisher_examples": 4,
    }
    assert sweep(models_dir, tmp_path / "results", grid) == 0
    # Fisher reads each target's texts; RegMean each source's own, which all targets share.
    assert len(learnt) == len(set(learnt)) == 2 * 2 + 3
    found = read_store(tmp_path / "results")
    assert found.failed == ()
    assert {(cell.method, cell.supervision) for cell in found.cells} == {
        ("fisher", "target-unlabelled"),
        ("regmean", "none"),
        ("regmean_plus", "none"),
    }
    # What the verb `merge` makes of the same is the same model.
    merged = tmp_path / "merged"
    common = ["--corpus", "small", "--target-lang", "af-ZA", "--models-dir", str(models_dir), "--top-k", "51"]
    for method in ("fisher", "regmean"):
        arguments = ["merge", *common, "--num-languages", "2", "--merge-method", method, "--num-fisher-examples", "4"]
        assert cli.main([*arguments, "--output-dir", str(merged / method)]) == 0
        scored = tmp_path / f"scored-{method}"
        test = ["test", "--model-path", str(merged / method), "--corpus", "small", "--locales", "af-ZA"]
        assert cli.main([*test, "--output-dir", str(scored), "--trainer.enable_progress_bar", "false"]) == 0
        (alone,) = read_store(scored).cells
        cell = only(found, target="af-ZA", method=method, preweight="uriel")
        assert alone.predictions().predictions.tolist() == cell.predictions().predictions.tolist()


def test_processes_give_the_same_as_this_process(store: Store, models_dir: Path, tmp_path: Path) -> None:
    grid = GRID | {"target_languages": "af-ZA", "methods": ["dare_ties"], "baselines": []}
    assert sweep(models_dir, tmp_path / "results", grid, workers=2) == 0
    found = read_store(tmp_path / "results").cells
    assert len(found) == 11
    for cell in found:
        same = next(one for one in store.cells if (one.target, one.folder.name) == (cell.target, cell.folder.name))
        assert cell.predictions().predictions.tolist() == same.predictions().predictions.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["tiess"]}, "unknown merge method 'tiess': did you mean ties"),
        ({"methods": [{"method": "ties", "parameters": {"densty": 1}}]}, "density"),
        ({"methods": [{"name": "ties"}]}, "unknown key of a method 'name'"),
        ({"preweights": ["urial"]}, "unknown weight source 'urial': did you mean uriel"),
        ({"voting_methods": ["softt"]}, "unknown voting method 'softt': did you mean soft"),
        ({"baselines": ["nativ"]}, "unknown baseline 'nativ': did you mean native"),
        ({"modes": ["averag"]}, "unknown mode 'averag': did you mean average"),
        ({"target_languages": ["af-Z"]}, "unknown locale of the corpus small 'af-Z': did you mean af-ZA"),
        ({"target_langauges": ["af-ZA"]}, "did you mean target_languages"),
        ({"num_languages": [0]}, "num_languages must be whole numbers of at least 1"),
        ({"num_languages": [4]}, "4 source languages are asked for af-ZA"),
        ({"seeds": [-1]}, "seeds must be whole numbers of at least 0"),
        ({"sources": ["sv-SE"]}, "no source model for sv-SE"),
        ({"preweights": ["manual"]}, "manual weights are of one target"),
        ({"baselines": ["joint"]}, "the baseline joint needs joint_model"),
        ({"fisher_data_mode": "targt", "methods": ["fisher"]}, "unknown fisher data mode 'targt'"),
        ({"methods": [], "voting_methods": [], "baselines": []}, "nothing to sweep over"),
        ({"split": "tset"}, "unknown split 'tset'"),
        ({"temperature": 0.5}, "another typology"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_before_anything_runs(
    store: Store, models_dir: Path, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(models_dir, store.folder, GRID | change) == 2
    assert message in capsys.readouterr().err


def test_modes_locales_and_parts_of_them(models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", "--list-modes"]) == 0
    modes = capsys.readouterr().out
    assert all(line in modes for line in ("similarity", "average", "baseline", "ties"))
    listing = ["sweep", "--corpus", "small", "--list-locales"]
    for more, expected in (
        ([], ["af-ZA", "en-US", "de-DE", "nl-NL"]),
        (["--start-from", "de-DE"], ["de-DE", "nl-NL"]),
        (["--start-from", "1", "--max-locales", "2"], ["en-US", "de-DE"]),
        (["--locales", "nl-NL,af-ZA"], ["nl-NL", "af-ZA"]),
        (["--target-languages", "nl-NL", "en-US", "--locales", "en-US"], ["en-US"]),
    ):
        assert cli.main([*listing, *more]) == 0
        assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == expected
    common = ["--corpus", "small", "--models-dir", str(models_dir), "--num-languages", "2", "--top-k", "51"]
    modes = ["--modes", "baseline", "similarity", "average", "--dry-run", "--max-locales", "2"]
    assert cli.main(["sweep", *common, *modes, "--output-dir", str(tmp_path / "none")]) == 0
    planned = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert planned == [
        "af-ZA/merge_linear_uriel_n2",
        "af-ZA/merge_linear_equal_n2",
        "en-US/native",
        "en-US/merge_linear_uriel_n2",
        "en-US/merge_linear_equal_n2",
    ]
    assert not (tmp_path / "none").exists()
