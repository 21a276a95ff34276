"""The command `nxn`: right numbers, each test set tokenized and each model loaded once, resumed, and refused early."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cli
from mu_lightning.approaches.evaluation_context import FileTensors
from mu_lightning.data import encoding, module
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.results.matrix import read_nxn

MODELS = ("de-DE", "en-US", "nl-NL")
LOCALES = ("af-ZA", "nl-NL")


def nxn(models_dir: Path, output: Path, *more: str) -> int:
    common = ["--corpus", "small", "--models-dir", str(models_dir), "--output-dir", str(output)]
    return cli.main(["nxn", *common, "--max-workers", "0", "--batch-size", "16", *more])


@pytest.fixture
def matrix(models_dir: Path, tmp_path: Path) -> Path:
    assert nxn(models_dir, tmp_path / "nxn", "--locales", ",".join(LOCALES)) == 0
    return tmp_path / "nxn"


def test_a_cell_is_what_the_model_scores_alone(matrix: Path, models_dir: Path, data_module: Any) -> None:
    found = read_nxn(matrix)
    assert (found.sources, found.locales, found.corpus, found.split) == (MODELS, LOCALES, "small", "test")
    loaders = data_module(max_length=64).eval_loaders("test", LOCALES)
    for row, source in enumerate(MODELS):
        scores = evaluate(IntentClassifier.from_folder(models_dir / f"tiny_small_{source}"), loaders)
        for column, locale in enumerate(LOCALES):
            assert found.predictions(source, locale).predictions.tolist() == scores[locale].predictions.tolist()
            assert found.accuracy[row, column] == scores[locale].accuracy
    assert len({tuple(found.predictions(source, "af-ZA").predictions) for source in MODELS}) == 3


def test_the_tables_hold_what_the_rows_hold(matrix: Path) -> None:
    found = read_nxn(matrix)
    wide = pd.read_csv(matrix / "evaluation_matrix.csv", index_col=0)
    assert (list(wide.index), list(wide.columns)) == (list(MODELS), list(LOCALES))
    assert np.array_equal(wide.to_numpy(), found.accuracy)
    long = pd.read_parquet(matrix / "evaluation_matrix.parquet")
    columns = ["source", "locale", "accuracy", "macro_f1", "rows", "low", "high", "calibration_error"]
    assert list(long.columns) == columns
    assert np.allclose(long["calibration_error"], found.calibration_error.ravel())
    assert np.array_equal(long.pivot(index="source", columns="locale", values="accuracy").to_numpy(), found.accuracy)
    assert (long["low"] <= long["accuracy"]).all()
    assert read_nxn(matrix / "evaluation_matrix.csv").column("af-ZA") == found.column("af-ZA")


def test_each_split_is_tokenized_once_and_each_model_loaded_once(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenized, loaded = Counter(), Counter()
    encode, load = encoding.encode, FileTensors.load

    def counting_encode(rows: Any, *more: Any) -> Any:
        tokenized[rows.fingerprint] += 1
        return encode(rows, *more)

    def counting_load(self: FileTensors) -> Any:
        loaded[self.path.name] += 1
        return load(self)

    monkeypatch.setattr(module, "encode", counting_encode)
    monkeypatch.setattr(FileTensors, "load", counting_load)
    assert nxn(models_dir, tmp_path / "nxn") == 0
    assert list(tokenized.values()) == [1] * 4
    assert loaded == {f"tiny_small_{tag}": 1 for tag in MODELS}


def test_it_goes_on_where_it_stopped_and_makes_a_damaged_row_anew(
    matrix: Path, models_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_nxn(matrix)
    kept = (matrix / "rows" / "en-US" / "results.json").stat().st_mtime_ns
    shutil.rmtree(matrix / "rows" / "de-DE")
    (matrix / "rows" / "de-DE").write_text("somebody's")
    (matrix / ".nxn.json.0000aaaa.tmp").write_text("half")
    damaged = matrix / "rows" / "nl-NL" / "predictions.npz"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    assert nxn(models_dir, matrix, "--locales", ",".join(LOCALES)) == 0
    printed = capsys.readouterr().out
    assert (matrix / "rows" / "de-DE-2").read_text() == "somebody's"
    assert not list(matrix.rglob(".*"))
    assert "1 of 3 rows are there already" in printed
    assert "nl-NL is corrupt; recomputing" in printed
    assert np.array_equal(read_nxn(matrix).accuracy, before.accuracy)
    assert (matrix / "rows" / "en-US" / "results.json").stat().st_mtime_ns == kept


@pytest.mark.parametrize("content", ["", "[" * 10**5, "{}", '{"fingerprints": 1}'])
def test_a_damaged_manifest_is_an_error_and_nothing_is_changed(
    matrix: Path, models_dir: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (matrix / "nxn.json").write_text(content)
    before = {path: path.read_bytes() for path in matrix.rglob("*") if path.is_file()}
    assert nxn(models_dir, matrix, "--locales", ",".join(LOCALES)) == 2
    assert "nxn.json" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in matrix.rglob("*") if path.is_file()} == before


def test_models_that_have_come_since_are_added(models_dir: Path, tmp_path: Path) -> None:
    assert nxn(models_dir, tmp_path / "nxn", "--locales", "af-ZA", "--sources", "en-US") == 0
    assert read_nxn(tmp_path / "nxn").sources == ("en-US",)
    assert nxn(models_dir, tmp_path / "nxn", "--locales", "af-ZA", "--sources", "nl-NL") == 0
    found = read_nxn(tmp_path / "nxn")
    assert (found.sources, found.missing) == (("en-US", "nl-NL"), ())


def test_processes_give_the_same_as_this_process(matrix: Path, models_dir: Path, tmp_path: Path) -> None:
    assert nxn(models_dir, tmp_path / "two", "--locales", ",".join(LOCALES), "--max-workers", "2") == 0
    one, two = read_nxn(matrix), read_nxn(tmp_path / "two")
    for source in MODELS:
        for locale in LOCALES:
            same = one.predictions(source, locale).predictions == two.predictions(source, locale).predictions
            assert same.all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "tset"], "unknown split 'tset': did you mean test"),
        (["--locales", "sw-KE"], "the corpus small has no locale 'sw-KE'"),
        (["--locales", "nl-NN"], "unknown locale 'nl-NN'"),
        (["--sources", "af-ZA"], "no source model for af-ZA"),
        (["--max-workers=-1"], "--max-workers is -1"),
        (["--locales", "af-ZA,en-US"], "holds a matrix of other locales: nl-NL only there; en-US only asked for"),
        (["--locales", "af-ZA,nl-NL", "--split", "dev"], "holds a matrix of other split: test there, dev asked for"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    matrix: Path, models_dir: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert nxn(models_dir, matrix, *more) == 2
    assert message in capsys.readouterr().err


def test_a_model_of_another_label_map_is_refused(
    models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    shutil.copytree(models_dir, folder)
    path = folder / "tiny_small_en-US" / "config.json"
    config = json.loads(path.read_text())
    config["id2label"] = config["id2label"] | {"0": "weather"}
    path.write_text(json.dumps(config))
    assert nxn(folder, tmp_path / "nxn") == 2
    assert "tiny_small_en-US has other labels (25: weather, ...) than the corpus small" in capsys.readouterr().err
    assert not (tmp_path / "nxn").exists()


def test_a_row_that_fails_is_told_and_the_others_are_kept(
    models_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = FileTensors.load

    def broken(self: FileTensors) -> Any:
        if "en-US" in self.path.name:
            raise OSError("the disk is gone")
        return load(self)

    monkeypatch.setattr(FileTensors, "load", broken)
    assert nxn(models_dir, tmp_path / "nxn", "--locales", "af-ZA") == 2
    assert "1 of 3 rows failed, the others are kept: en-US: OSError: the disk is gone" in capsys.readouterr().err
    assert read_nxn(tmp_path / "nxn").missing == ("en-US",)
