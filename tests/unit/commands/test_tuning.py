"""`merge --tune sources` and `ensemble --tune sources`: whole commands on tiny models."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import cli
from mu_lightning.approaches.tuning import space
from mu_lightning.commands.ensemble import run as ensemble
from mu_lightning.commands.merge import run as merge
from mu_lightning.data import registry
from mu_lightning.utilities.errors import UserError

MODELS = ("de-DE", "en-US", "nl-NL")


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space, "TEMPERATURES", (None, 0.05))
    monkeypatch.setattr(space, "SCALES", (1.0, 1.6))


class OtherLabels:
    """The small corpus with other labels of the target."""

    def __init__(self, corpus: Any) -> None:
        self.name, self.label_names, self.locales, self.notes = "small", corpus.label_names, corpus.locales, ()
        self._corpus = corpus

    def rows(self, locale: str, split: Any) -> Any:
        rows = self._corpus.rows(locale, split)
        if locale != "af-ZA":
            return rows
        return replace(rows, labels=np.random.default_rng(1).permutation(rows.labels))


def arguments(models_dir: Path, *more: str) -> list[str]:
    return ["--target-lang", "af-ZA", "--models-dir", str(models_dir), "--corpus", "small", "--tune", "sources", *more]


def test_a_merge_is_chosen_and_says_so_whatever_the_targets_labels(
    models_dir: Path, corpus: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert merge(arguments(models_dir, "--output-dir", str(tmp_path / "one"))) == 0
    printed = capsys.readouterr().out
    tuning = json.loads((tmp_path / "one" / "tuning.json").read_text())
    assert f"chosen: {tuning['chosen_candidate']}" in printed
    assert set(tuning["pseudo_targets"]) == set(MODELS)
    assert len(tuning["rounds"]) == 3
    details = json.loads((tmp_path / "one" / "merge_details.json").read_text())
    assert details["supervision"] == "source-dev"
    assert details["method"] == tuning["chosen"]["method"]
    assert len(details["sources"]) == (tuning["chosen"]["num_languages"] or 3)
    monkeypatch.setenv("MU_CACHE_DIR", str(tmp_path / "cache"))  # nothing of the first tuning is known
    monkeypatch.setitem(registry.CORPORA, "small", lambda data_dir: OtherLabels(corpus))
    assert merge(arguments(models_dir, "--output-dir", str(tmp_path / "other"))) == 0
    assert json.loads((tmp_path / "other" / "tuning.json").read_text()) == tuning
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "other"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_ensemble_is_chosen_scored_and_reproduced(
    models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--max-workers", "0", "--output-dir", str(tmp_path / "out")]
    assert ensemble(arguments(models_dir, *more)) == 0
    printed = capsys.readouterr().out
    assert "chosen: ensemble, " in printed
    assert "ensemble, tuned on sources" in printed
    results = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    (found,) = [one for one in results if one["identity"]["approach"]["approach"] == "tuned"]
    assert found["supervision"] == "source-dev"
    assert sum(found["weights"].values()) == pytest.approx(1)
    assert cli.main(["reproduce", str(tmp_path / "out"), "--max-workers", "0"]) == 0


def test_a_sweep_has_a_tuned_merge_and_a_tuned_ensemble(models_dir: Path, tmp_path: Path) -> None:
    grid = ["--target-languages", "af-ZA", "--voting-methods", "soft", "--num-languages", "2", "--top-k", "51"]
    given = ["--corpus", "small", "--models-dir", str(models_dir), "--max-workers", "0"]
    assert cli.main(["sweep", *grid, *given, "--tune", "sources", "--output-dir", str(tmp_path / "sweep")]) == 0
    found = [json.loads(path.read_text())["results"][0] for path in (tmp_path / "sweep").glob("*/*/results.json")]
    spaces = {one["identity"]["approach"].get("space"): one["supervision"] for one in found}
    assert spaces == {None: "none", "merge": "source-dev", "vote": "source-dev"}


def test_sources_that_a_sweep_trains_are_tuned_on_too(tmp_path: Path, tiny_base: Path) -> None:
    grid = ["--target-languages", "af-ZA", "--sources", ",".join(MODELS), "--corpus", "small", "--base", str(tiny_base)]
    grid += ["--trainer", '{"max_epochs": 1, "limit_train_batches": 1}', "--max-workers", "0", "--tune", "sources"]
    assert cli.main(["sweep", *grid, "--output-dir", str(tmp_path / "sweep")]) == 0
    (path,) = (tmp_path / "sweep").glob("*/*/results.json")
    assert json.loads(path.read_text())["results"][0]["supervision"] == "source-dev"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--merge-method", "ties"], "--tune chooses what --merge-method sets: give one or the other"),
        (["--parameters", "scale=2", "--temperature", "1"], "--tune chooses what --parameters, --temperature set"),
        (["--engine", "auto-merge-llm"], "not of --engine auto-merge-llm"),
        (["--locales", "de-DE,en-US"], "needs at least 3 sources, not 2"),
        (["--locales", "de-DE,en-US,fr-FR"], "no source model for fr-FR; available: de-DE, en-US, nl-NL"),
    ],
)
def test_what_tuning_chooses_cannot_be_given_too(models_dir: Path, more: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        merge(arguments(models_dir, *more))


def test_an_ensemble_refuses_it_too(models_dir: Path) -> None:
    with pytest.raises(UserError, match="--tune chooses what --preweight, --voting-method set"):
        ensemble(arguments(models_dir, "--voting-method", "soft", "--preweight", "equal"))
