"""The command `sweep`: cells are what they are alone, finished ones are skipped, failed ones are recorded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import cli
from mu_lightning.approaches.evaluation_context import FileTensors
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.ensemble import Ensemble
from mu_lightning.results.store import Store, StoredCell, read_store
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


def only(store: Store, label: str, target: str = "af-ZA", seed: int = 0) -> StoredCell:
    """The one result of that label."""
    (found,) = [cell for cell in store.cells if (cell.identity.label, cell.target, cell.seed) == (label, target, seed)]
    return found


def classifiers(models_dir: Path) -> dict[str, IntentClassifier]:
    return {tag: IntentClassifier.from_folder(models_dir / f"tiny_small_{tag}") for tag in MODELS}


def test_it_has_each_cell_once_and_what_cannot_differ_is_run_once(store: Store) -> None:
    assert (store.failed, store.damaged) == ((), ())
    found = [(cell.identity.label, cell.seed) for cell in store.cells if cell.target == "nl-NL"]
    plain = ("linear", "ties (density 0.5)", "slerp")
    merges = {(f"merged once, {method}, {weights}", 0) for method in plain for weights in ("equal", "URIEL")}
    shuffled = {(f"merged once, {method}, shuffled", seed) for method in plain for seed in (0, 1)}
    weights = ("equal", "URIEL", "shuffled")
    dare = {(f"merged once, dare_ties, {name}", seed) for name in weights for seed in (0, 1)}
    votes = {("ensemble, majority", 0), ("ensemble, soft, equal", 0), ("ensemble, soft, URIEL", 0)}
    votes |= {("ensemble, soft, shuffled", 0), ("ensemble, soft, shuffled", 1)}
    alone = {("trained on target labels (ceiling)", 0), ("source de-DE", 0), ("source en-US", 0)}
    assert set(found) == merges | shuffled | dare | votes | alone
    assert len(found) == len(set(found))


def test_a_merge_is_the_merge_scored(store: Store, models_dir: Path, data_module: Any) -> None:
    plan = plan_sources("af-ZA", available=MODELS, num_languages=2, settings=TypologySettings(top_k=51))
    loaders = data_module(max_length=64).eval_loaders("test", ["af-ZA"])
    members = classifiers(models_dir)
    for preweight, label, seed in (("uriel", "URIEL", 0), ("shuffled", "shuffled", 1)):
        weights = reweighted(plan, preweight, seed)
        states = {tag: members[tag].merge_state() for tag in plan.sources}
        merged = members[plan.sources[0]].with_merged(merge_tensors("linear", states, weights))
        expected = evaluate(merged, loaders)["af-ZA"]
        found = only(store, f"merged once, linear, {label}", seed=seed)
        assert found.weights == pytest.approx(weights)
        assert found.predictions().predictions.tolist() == expected.predictions.tolist()
        assert found.sources == plan.sources
        assert "Method: linear" in (found.merge_details or "")


def test_a_vote_is_the_ensemble_scored(store: Store, models_dir: Path, data_module: Any) -> None:
    found = only(store, "ensemble, soft, URIEL")
    members = classifiers(models_dir)
    module = Ensemble({tag: members[tag] for tag in found.sources}, found.weights, "soft")
    expected = evaluate(module, data_module(max_length=64).eval_loaders("test", ["af-ZA"]))["af-ZA"]
    assert found.predictions().predictions.tolist() == expected.predictions.tolist()
    merged = only(store, "merged once, linear, URIEL")
    assert found.cost.model_bytes == 2 * (merged.cost.model_bytes or 0) > 0


def test_a_source_that_is_among_the_voters_scores_as_it_does_alone(
    store: Store, models_dir: Path, data_module: Any
) -> None:
    loaders = data_module(max_length=64).eval_loaders("test", ["af-ZA"])
    for tag, model in classifiers(models_dir).items():
        found = only(store, f"source {tag}")
        assert found.predictions().predictions.tolist() == evaluate(model, loaders)["af-ZA"].predictions.tolist()
        assert found.supervision == "none"
    assert only(store, "trained on target labels (ceiling)", "nl-NL").supervision == "target-labels"


def test_finished_cells_are_skipped_and_a_damaged_or_failed_one_is_made_anew(
    store: Store, models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "results"
    shutil.copytree(store.folder, output)
    times = {path: path.stat().st_mtime_ns for path in output.glob("*/*/results.json")}
    labels = ("merged once, linear, URIEL", "merged once, ties (density 0.5), URIEL")
    damaged, failed = (output / "af-ZA" / only(store, label).folder.name for label in labels)
    (damaged / "predictions.npz").write_bytes(b"half")
    shutil.rmtree(failed)
    failed.mkdir()
    (failed / "error.json").write_text(json.dumps({"error": "gone", "cell": {}, "traceback": ""}))
    foreign = output / "af-ZA" / only(store, "source nl-NL").folder.name
    (foreign / "results.json").unlink()
    (foreign / "notes.txt").write_text("somebody's")
    (output / ".sweep.json.0000aaaa.tmp").write_text("half")
    assert sweep(models_dir, output, GRID) == 0
    printed = capsys.readouterr().out
    assert (foreign.with_name(f"{foreign.name}-2") / "notes.txt").read_text() == "somebody's"
    assert not list(output.rglob(".*"))
    assert f"{len(times) - 3} of {len(times)} cells are there already" in printed
    assert "1 cells failed before and are tried again" in printed
    after = read_store(output)
    assert (len(after.cells), after.failed, after.damaged) == (len(store.cells), (), ())
    changed = {path.parent for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert changed == {damaged, failed, foreign}
    for cell, again in zip(store.cells, after.cells, strict=True):
        assert cell.predictions().predictions.tolist() == again.predictions().predictions.tolist()


@pytest.mark.parametrize("content", ["", "[" * 10**5, "{}", '{"problem": {}, "models": []}'])
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
    merge, vote = "merged once, linear, URIEL", "ensemble, soft, URIEL"
    whole = {(cell.identity.label, len(cell.sources)) for cell in found.cells}
    assert whole == {(merge, 1), (vote, 1), ("source nl-NL", 1), ("source de-DE", 1)}
    broken = {(failure.cell["label"], len(failure.cell["problem"]["sources"])) for failure in found.failed}
    assert broken == {(merge, 3), (vote, 3), ("source en-US", 1)}
    assert {failure.error for failure in found.failed} == {"OSError: the disk is gone"}
    assert found.failed[0].cell["problem"]["target"] == "af-ZA"
    assert "failed: " in capsys.readouterr().out


@pytest.mark.parametrize("how", ["replaced", "cut"])
def test_a_model_that_changes_while_it_is_read_has_no_cells_and_the_sweep_goes_on_with_the_first_one(
    models_dir: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    shutil.copytree(models_dir, models)
    weights = models / "tiny_small_en-US" / "model.safetensors"
    first = weights.read_bytes()
    load = FileTensors.load

    def change(self: FileTensors) -> Any:
        found = load(self)
        if "en-US" in self.path.name:
            weights.with_name("new").write_bytes(first[:-4] + b"1234" if how == "replaced" else b"")
            weights.with_name("new").replace(weights)
        return found

    monkeypatch.setattr(FileTensors, "load", change)
    grid = {"target_languages": "af-ZA", "methods": ["linear", "ties"], "num_languages": [1, 3], "top_k": 51}
    grid |= {"baselines": "sources"}
    assert sweep(models, tmp_path / "results", grid) == 1
    store = read_store(tmp_path / "results")
    assert len(store.failed) == 3
    assert {"model.safetensors has changed since the run began" in failure.error for failure in store.failed} == {True}
    assert not any("en-US" in cell.sources for cell in store.cells)
    monkeypatch.setattr(FileTensors, "load", load)
    weights.write_bytes(first)
    assert sweep(models, tmp_path / "results", grid) == 0
    assert sweep(models_dir, tmp_path / "undisturbed", grid) == 0
    for name in ("linear", "ties"):
        both = [read_store(tmp_path / place) for place in ("results", "undisturbed")]
        one, other = (
            [cell for cell in store.cells if name in cell.identity.label and len(cell.sources) == 3] for store in both
        )
        assert one[0].predictions().predictions.tolist() == other[0].predictions().predictions.tolist()


def test_methods_that_learn_from_texts_learn_once_for_each_source_and_say_what_they_read(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mu_lightning.approaches.from_text.learning import LearningTask

    learned = []
    learn = LearningTask._learn

    def counting(self: LearningTask, context: Any) -> Any:
        learned.append(self.name)
        return learn(self, context)

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
    assert len(learned) == len(set(learned)) == 2 * 2 + 3
    found = read_store(tmp_path / "results")
    assert found.failed == ()
    assert {(cell.method, cell.supervision) for cell in found.cells} == {
        ("fisher", "target-unlabelled"),
        ("regmean", "none"),
        ("regmean_plus", "none"),
    }
    # What the command `merge` makes of the same is the same model.
    merged = tmp_path / "merged"
    common = ["--corpus", "small", "--target-lang", "af-ZA", "--models-dir", str(models_dir), "--top-k", "51"]
    for method in ("fisher", "regmean"):
        arguments = ["merge", *common, "--num-languages", "2", "--merge-method", method, "--num-fisher-examples", "4"]
        assert cli.main([*arguments, "--output-dir", str(merged / method)]) == 0
        scored = tmp_path / f"scored-{method}"
        test = ["test", "--model-path", str(merged / method), "--corpus", "small", "--locales", "af-ZA"]
        assert cli.main([*test, "--output-dir", str(scored), "--trainer.enable_progress_bar", "false"]) == 0
        (alone,) = read_store(scored).cells
        cell = only(found, f"merged once, {method}, URIEL")
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
        ({"num_languages": [0]}, "--num-languages is 0: expected a number at least 1"),
        ({"num_languages": [4]}, "4 source languages are asked for af-ZA"),
        ({"seeds": [-1]}, "--seeds is -1: expected a number at least 0"),
        ({"sources": ["sv-SE"]}, "no source model for sv-SE"),
        ({"preweights": ["manual"]}, "manual weights are of one target"),
        ({"approaches": ["mergedonce"]}, "unknown approach 'mergedonce'"),
        ({"approaches": [{"method": "ties"}]}, "an entry of approaches is a name, or a mapping with 'approach'"),
        ({"approaches": [{"approach": "one_shot", "methd": "ties"}]}, "did you mean method"),
        ({"approaches": [{"approach": "iterative", "merge": {"sync": "pul"}}]}, "Expected"),
        ({"approaches": [{"approach": "iterative", "merge": {"schedule": "evry"}}]}, "unknown schedule 'evry'"),
        ({"fisher_data_mode": "targt", "methods": ["fisher"]}, "fisher data mode 'targt'"),
        ({"methods": [], "voting_methods": [], "baselines": []}, "nothing to sweep over"),
        ({"split": "tset"}, "unknown split 'tset'"),
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
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [(line.partition("/")[0], line.partition("  ")[2].partition(", seed")[0]) for line in lines] == [
        ("af-ZA", "merged once, linear, URIEL"),
        ("af-ZA", "merged once, linear, equal"),
        ("en-US", "trained on target labels (ceiling)"),
        ("en-US", "merged once, linear, URIEL"),
        ("en-US", "merged once, linear, equal"),
    ]
    assert not (tmp_path / "none").exists()
