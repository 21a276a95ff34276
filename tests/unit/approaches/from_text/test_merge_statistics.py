"""Methods that learn from texts, on folders: which texts they read, and that the merge is what the statistics say."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mu_lightning.approaches.from_text.merge_data import MergeData, MergeTexts
from mu_lightning.approaches.from_text.merge_statistics import collected
from mu_lightning.checkpoints import load_base, load_tokenizer, save_model
from mu_lightning.commands.merge import run
from mu_lightning.data.cldr import CldrCorpus
from mu_lightning.merging.folders.folder_plan import FolderPlan, plan_folders
from mu_lightning.merging.statistics.fisher import fisher_diagonal
from mu_lightning.utilities.errors import UserError

TAGS = ("nl-NL", "de-DE")
DATA = MergeData("cldr", mode="target", target="af-ZA", examples=9, max_length=16)


@pytest.fixture(scope="module")
def models(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two source models as `fit` writes them, and the base with their head."""
    folder = tmp_path_factory.mktemp("models")
    details = {"config": {"model": {"base": str(tiny_base)}, "data": {"corpus": "cldr"}}}
    for seed, tag in enumerate(TAGS):
        model = load_base(tiny_base, CldrCorpus.label_names, 0)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        save_model(folder / f"tiny_cldr_{tag}", model, load_tokenizer(tiny_base), details)
    return folder


def planned(models: Path, output: Path, method: str, base: Path | None = None) -> FolderPlan:
    folders = {tag: models / f"tiny_cldr_{tag}" for tag in TAGS}
    given = {"iterations": 3} if method == "adamerging" else {}
    weights = dict(zip(TAGS, (0.6, 0.4), strict=True))
    return plan_folders(method, folders, weights, output, base=base, parameters=given, statistics={})


def test_the_mode_says_whose_texts_are_read(models: Path, tmp_path: Path) -> None:
    plan = planned(models, tmp_path / "out", "fisher")
    assert DATA.locales("nl-NL") == ("af-ZA",)
    texts = MergeTexts(replace(DATA, mode="both"), plan)
    assert len(texts.rows(["nl-NL"])) == 18
    assert len(texts.rows(TAGS)) == 27
    assert {name.split("/")[0] for name in texts.rows(TAGS).ids} == {*TAGS, "af-ZA"}
    assert texts.data.supervision == "target-unlabelled"
    assert "27 unlabeled train utterances of af-ZA, de-DE, nl-NL" in texts.describe()
    own = MergeTexts(replace(DATA, mode="sources", target=None), plan)
    assert len(own.rows(["nl-NL"])) == 9
    assert own.data.supervision == "none"


def test_the_labels_of_the_texts_change_nothing(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(models, tmp_path / "out", "fisher")
    with collected(plan, MergeTexts(DATA, plan), progress=False) as statistics:
        before = {name: tensor.clone() for name, tensor in statistics["nl-NL"].items()}
    whole = CldrCorpus.rows
    monkeypatch.setattr(
        CldrCorpus, "rows", lambda self, *which: replace(whole(self, *which), labels=[0] * len(whole(self, *which)))
    )
    with collected(plan, MergeTexts(DATA, plan), progress=False) as statistics:
        assert all(torch.equal(tensor, before[name]) for name, tensor in statistics["nl-NL"].items())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("method", ["fisher", "regmean", "regmean_plus", "adamerging"])
def test_every_source_gets_what_its_method_needs(method: str, models: Path, tiny_base: Path, tmp_path: Path) -> None:
    plan = planned(models, tmp_path / "out", method, tiny_base)
    with collected(plan, MergeTexts(DATA, plan), progress=False) as statistics:
        assert list(statistics) == list(TAGS)
        for found in statistics.values():
            assert "roberta.encoder.layer.1.output.dense.weight" in found
            assert all(torch.isfinite(tensor).all() for tensor in found.values())
            assert ("classifier.dense.weight" in found) == (method != "adamerging")
        assert not torch.equal(*(found["roberta.encoder.layer.1.output.dense.weight"] for found in statistics.values()))


CASES = {
    "an unknown mode": ({"mode": "targets"}, "unknown fisher data mode 'targets': did you mean target"),
    "no examples": ({"examples": 0}, "num-fisher-examples is 0"),
    "no target": ({"target": None}, "needs a target"),
    "a target that the corpus lacks": ({"target": "xx-XX"}, "the corpus cldr has no locale xx-XX"),
}


@pytest.mark.parametrize("what", CASES)
def test_texts_that_are_not_there_are_refused(what: str, models: Path, tmp_path: Path) -> None:
    changes, message = CASES[what]
    with pytest.raises(UserError, match=message):
        MergeTexts(replace(DATA, **changes), planned(models, tmp_path / "out", "fisher"))


def arguments(models: Path, output: Path, *more: str) -> list[str]:
    return [
        *("--target-lang", "af-ZA", "--models-dir", str(models), "--num-languages", "2"),
        *("--num-fisher-examples", "9", "--output-dir", str(output), *more),
    ]


def test_the_verb_reads_the_target_s_text_says_so_and_its_recipe_gives_the_same_model(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(models, tmp_path / "one", "--mode", "fisher")) == 0
    assert "supervision: target-unlabelled" in capsys.readouterr().out
    details = json.loads((tmp_path / "one" / "merge_details.json").read_text())
    assert details["supervision"] == "target-unlabelled"
    assert details["data"] == {"corpus": "cldr", "mode": "target", "target": "af-ZA", "examples": 9, "max_length": 64}
    assert "Supervision: target-unlabelled" in (tmp_path / "one" / "merge_details.txt").read_text()
    recipe = tmp_path / "one" / "merge_recipe.yaml"
    assert run(["--recipe", str(recipe), "--models-dir", str(models), "--output-dir", str(tmp_path / "again")]) == 0
    one, again = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "again"))
    assert all(torch.equal(tensor, again[name]) for name, tensor in one.items())
    run(arguments(models, tmp_path / "own", "--mode", "fisher", "--fisher-data-mode", "sources"))
    details = json.loads((tmp_path / "own" / "merge_details.json").read_text())
    assert details["supervision"] == "none"
    own = load_file(tmp_path / "own" / "model.safetensors")
    assert any(not torch.equal(tensor, one[name]) for name, tensor in own.items())


def test_the_verb_learns_coefficients_from_the_base_that_the_sources_name(models: Path, tmp_path: Path) -> None:
    run(arguments(models, tmp_path / "out", "--mode", "adamerging", "--parameters", "iterations=4,coefficients=task"))
    details = json.loads((tmp_path / "out" / "merge_details.json").read_text())
    assert details["supervision"] == "target-unlabelled"
    assert set(details["coefficients"]) == set(TAGS)
    assert all(0.29 < value < 0.31 and value != 0.3 for value in details["coefficients"].values())


def test_a_dry_run_of_such_a_method_checks_its_texts_and_writes_nothing(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(models, tmp_path / "out" / "x", "--mode", "regmean", "--dry-run")) == 0
    assert "18 unlabeled train utterances of de-DE, nl-NL (cldr)" in capsys.readouterr().out
    with pytest.raises(UserError, match="linear"):
        run(arguments(models, tmp_path / "out" / "x"))
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_no_statistics(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fisher_diagonal.__module__ + ".fisher_diagonal", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(arguments(models, tmp_path / "out", "--mode", "fisher"))
    assert list(tmp_path.iterdir()) == []
