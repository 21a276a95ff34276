"""What cannot be done is said in one line, before any training, and leaves nothing behind."""

from pathlib import Path

import pytest

import cli
from mu_lightning.data.registry import open_corpus
from mu_lightning.settings import CorpusSettings

FIT = ["fit", "--locales", "nl-NL,de-DE"]
TARGET = ["fit", "--target-lang", "af-ZA"]

CASES = {
    "an unknown locale": ([*FIT, "--target-lang", "af-AZ"], ["af-AZ", "af-ZA"]),
    "an unknown source": (["fit", "--locales", "nl-BE"], ["nl-BE", "nl-NL"]),
    "a target among its own sources": ([*TARGET, "--locales", "af-ZA,nl-NL"], ["af-ZA", "its sources"]),
    "a source named twice": (["fit", "--locales", "nl-NL,nl-NL"], ["nl-NL", "twice"]),
    "nothing to train": (["fit"], ["--locales", "--target-lang"]),
    "more sources than exist": ([*TARGET, "--num-languages", "60"], ["60"]),
    "more sources than the top-k": ([*TARGET, "--num-languages", "5", "--top-k", "3"], ["5", "3"]),
    "an unknown corpus": ([*FIT, "--corpus", "massiv"], ["massiv", "massive"]),
    "an unknown merge method": ([*TARGET, "--merge-method", "liner"], ["liner", "linear"]),
    "an unknown weight source": ([*TARGET, "--preweight", "uriell"], ["uriell", "uriel"]),
    "a negative merge frequency": ([*TARGET, "--merge-frequency", "-1"], ["-1"]),
    "a directory that is not a release": ([*FIT, "--corpus", "massive", "--data-dir", "."], ["release", ".jsonl"]),
    "a base that is not there": ([*FIT, "--base", "./nowhere/base"], ["nowhere/base"]),
    "wandb without an account": ([*FIT, "--enable-wandb"], ["WANDB_MODE=offline"]),
    "a comparison without a target": ([*FIT, "--compare"], ["--target-lang"]),
    "no source models": (["merge", "--target-lang", "sq-AL"], ["no source model found", "--models-dir"]),
    "no source models to vote": (["ensemble", "--target-lang", "sq-AL"], ["no source model found", "--models-dir"]),
    "a matrix that is not there": ([*TARGET, "--similarity-source", "sparse"], ["--similarity-matrix"]),
    "a batch of nothing": ([*FIT, "--batch-size", "0"], ["data.batch_size", "0", "at least 1"]),
    "a negative learning rate": ([*FIT, "--learning-rate", "-1"], ["model.learning_rate", "-1", "above 0"]),
    "texts longer than the base reads": ([*FIT, "--data.max_length", "1000"], ["1000", "128"]),
    "a negative number of epochs": ([*FIT, "--max-epochs", "-3"], ["max_epochs", "-3"]),
    "a negative clip": ([*FIT, "--trainer.gradient_clip_val", "-1"], ["gradient_clip_val", "-1"]),
    "an accelerator that is not there": ([*FIT, "--trainer.accelerator", "abacus"], ["abacus", "cpu"]),
    "float16": ([*TARGET, "--precision", "16-mixed"], ["16-mixed", "bf16-mixed", "32-true"]),
    "bfloat16 moments of float64 weights": (
        [*FIT, "--precision", "64-true", "--model.moments_dtype", "bfloat16"],
        ["--model.moments_dtype bfloat16", "64-true", "32-true", "bf16-mixed"],
    ),
    "moments of a dtype that there is not": (
        [*FIT, "--model.moments_dtype", "int8"],
        ["moments_dtype", "int8", "bfloat16"],
    ),
    "adapters in one pass": (
        [*FIT, "--model.execution", "stacked", "--adapter", "lora"],
        ["--model.execution stacked", "--adapter lora", "loop"],
    ),
    "one pass in float64": (
        [*FIT, "--model.execution", "stacked", "--precision", "64-true"],
        ["--model.execution stacked", "--precision 64-true", "loop"],
    ),
    "float16 by its short name": ([*FIT, "--precision", "16"], ["trainer.precision 16:", "bf16-mixed"]),
    "a library that is not there": (
        ["test", "--model-path", "x", "--locales", "nl-NL", "--precision", "transformer-engine"],
        ["transformer_engine"],
    ),
    "a misspelled argument": ([*FIT, "--learnin-rate", "1"], ["--learnin-rate", "--learning-rate"]),
    "a misspelled key": ([*FIT, "--data.corpsu", "cldr"], ["--data.corpsu", "--data.corpus"]),
    "a word for a number": ([*FIT, "--batch-size", "many"], ["data.batch_size", "'many'", "int"]),
    "a word that is no choice": (["merge", "--merge-method", "tais"], ["tais", "ties"]),
    "a configuration that is not there": ([*FIT, "--config", "none.yaml"], ["none.yaml"]),
    "an unknown command": (["fitt"], ["fitt", "fit"]),
    "no model to test": (["test", "--model-path", "./none", "--locales", "nl-NL"], ["none"]),
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the program refuses `arguments`."""
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("what", CASES)
def test_it_is_refused_in_one_line_that_names_what_is_wrong(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = CASES[what]
    line = refused(arguments, capsys)
    assert [word for word in words if word not in line] == []
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_holds_a_result_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text("{}")
    assert "run already holds a result" in refused([*TARGET, "--output-dir", "run"], capsys)
    (tmp_path / "checkpoints" / "xlm-r-cldr_cldr_nl-NL").mkdir(parents=True)
    (tmp_path / "checkpoints" / "xlm-r-cldr_cldr_nl-NL" / "config.json").write_text("{}")
    assert "xlm-r-cldr_cldr_nl-NL already holds a model" in refused(FIT, capsys)


def test_a_matrix_with_a_hole_or_without_the_target_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["similarity", "--output-file", "whole.csv"]) == 0
    capsys.readouterr()
    lines = (tmp_path / "whole.csv").read_text().splitlines()
    header = lines[0].split(",")
    without = [line.split(",") for line in lines if not line.startswith("af-ZA")]
    place = header.index("af-ZA")
    text = "\n".join(",".join(line[:place] + line[place + 1 :]) for line in without)
    (tmp_path / "without.csv").write_text(text + "\n")
    row = lines[3].split(",")
    (tmp_path / "hole.csv").write_text(
        "\n".join([*lines[:3], ",".join([*row[:5], "nan", *row[6:]]), *lines[4:]]) + "\n"
    )
    sparse = [*TARGET, "--similarity-source", "sparse", "--similarity-matrix"]
    assert "af-ZA" in refused([*sparse, "without.csv"], capsys)
    hole = refused([*sparse, "hole.csv"], capsys)
    assert row[0] in hole
    assert header[5] in hole


def test_without_a_network_the_hub_is_named_and_both_ways_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    line = refused(["fit", "--config", "configs/massive.yaml"], capsys)
    for word in ("xlm-roberta-base", "network", "--base", "--data-dir"):
        assert word in line


def _model(folder: Path, labels: tuple[str, ...], pieces: str = "abc") -> None:
    """A random classifier of a few parameters in a source model's folder."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    from mu_lightning.checkpoints import save_model
    from mu_lightning.training.pretraining import train_tokenizer

    tokenizer = train_tokenizer([pieces], 20)
    names = dict(enumerate(labels))
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        max_position_embeddings=70,
        id2label=names,
        label2id={name: number for number, name in names.items()},
    )
    save_model(folder, XLMRobertaForSequenceClassification(config), tokenizer, {})


@pytest.mark.parametrize("verb", ["merge", "ensemble"])
@pytest.mark.parametrize("what", ["label", "tokenizer"])
def test_sources_with_other_labels_or_another_tokenizer_are_refused(
    verb: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = open_corpus(CorpusSettings()).label_names
    _model(tmp_path / "models" / "tiny_cldr_nl-NL", labels)
    other = ("another", *labels[1:]) if what == "label" else labels
    _model(tmp_path / "models" / "tiny_cldr_de-DE", other, "xyz" if what == "tokenizer" else "abc")
    arguments = [verb, "--target-lang", "af-ZA", "--locales", "nl-NL,de-DE", "--models-dir", "models"]
    line = refused(arguments, capsys)
    assert what in line
    assert "de-DE" in line
    assert [path.name for path in tmp_path.iterdir()] == ["models"]
