"""A model folder that is damaged, not finite or brings code is refused by every command, in one line that names it."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mu_lightning.commands.program import main

Damage = Callable[[Path], None]
WEIGHTS = "model.safetensors"


def configured(**changes: Any) -> Damage:
    """Changes keys of config.json; None takes one away."""

    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps({key: v for key, v in config.items() if v is not None}))

    return damage


def written(name: str, content: bytes | str) -> Damage:
    """Puts a file of that content in the folder."""
    raw = content if isinstance(content, bytes) else content.encode()

    def damage(folder: Path) -> None:
        (folder / name).write_bytes(raw)

    return damage


def with_gap(folder: Path) -> None:
    labels = json.loads((folder / "config.json").read_text())["id2label"]
    configured(id2label={("30" if key == "3" else key): name for key, name in labels.items()})(folder)


def with_nan(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    state["roberta.encoder.layer.0.output.dense.weight"][0, 0] = torch.nan
    save_file(state, folder / WEIGHTS, {"format": "pt"})


def with_code(folder: Path) -> None:
    """A folder whose own Python code leaves a file behind where it runs."""
    (folder / "own.py").write_text(
        f"open({str(folder.parent / 'it_ran')!r}, 'w')\nfrom transformers import PretrainedConfig as Config\n"
    )
    configured(model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})(folder)


def without_padding(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": None}))


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
# What every command refuses, and a part of the line.
EVERYWHERE: dict[str, tuple[Damage, str]] = {
    "a pointer for weights": (written(WEIGHTS, POINTER), "model.safetensors is a Git LFS pointer"),
    "half of the weights": (lambda folder: os.truncate(folder / WEIGHTS, 50_000), "model.safetensors"),
    "a config of another encoding": (written("config.json", '{"a": "é"}'.encode("utf-16")), "config.json is encoded"),
    "code of its own": (with_code, "Python code of its own"),
    "a NaN": (with_nan, "layer.0.output.dense.weight"),
}
DAMAGED: dict[str, tuple[Damage, str]] = {
    "no weights": (written(WEIGHTS, b""), "model.safetensors (0 bytes)"),
    "another size": (configured(hidden_size=64), "cannot be loaded"),
    "a size that is a text": (configured(hidden_size="32"), "hidden_size"),
    "no classes": (configured(id2label=None, label2id=None), "cannot be loaded"),
    "a class missing": (with_gap, "none with the index 3"),
    "classes as a list": (configured(id2label=["a"]), "cannot be loaded"),
    "a config of a list": (written("config.json", "[]"), "config.json does not hold a JSON object"),
    "a config nested deeply": (written("config.json", "[" * 100_000), "config.json is not valid JSON: it is nested"),
    "a config with a key twice": (written("config.json", '{"a": 1, "a": 2}'), "the key 'a' is there twice"),
    "an unknown architecture": (configured(model_type="own"), "cannot be loaded"),
    "a tokenizer of another kind": (written("tokenizer.json", '{"version": "9.9"}'), "tokenizer.json"),
    "a pointer for a tokenizer": (written("tokenizer.json", POINTER), "tokenizer.json is a Git LFS pointer"),
    "a tokenizer that is a list": (written("tokenizer_config.json", "[]"), "tokenizer_config.json does not hold"),
    "no padding token": (without_padding, "no padding token"),
}


@pytest.fixture
def models(models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question on standard input"))
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "stsb-en-test.csv").write_text("a cat,a dog,1.0\na cat,a cat,5.0\na car,a bus,3.0\n")
    return Path(shutil.copytree(models_dir, tmp_path / "models"))


def commands(base: Path) -> Mapping[str, list[str]]:
    """Command -> its arguments, in which the model of nl-NL has a part."""
    model = ["--model-path", "models/tiny_small_nl-NL", "--locales", "af-ZA", "--corpus", "small", *QUIET]
    several = ["--models-dir", "models", "--corpus", "small", "--max-workers", "1"]
    target = ["--target-lang", "af-ZA", "--locales", "nl-NL,de-DE", "--models-dir", "models"]
    grid = ["--target-languages", "af-ZA", "--num-languages", "2", "--sources", "nl-NL,de-DE", "--methods", "linear"]
    base_model = ["--base", "models/tiny_small_nl-NL", "--models-dir", "new"]
    return {
        "fit": [*base_model, "--locales", "nl-NL", "--corpus", "small", *QUIET, "--output-dir", "out"],
        "validate": [*model, "--output-dir", "out"],
        "test": [*model, "--output-dir", "out"],
        "predict": ["--model-path", "models/tiny_small_nl-NL", "--text", "a", "b", "--output", "out.csv"],
        "merge": [*target, "--method", "task_arithmetic", "--base-model", str(base), "--output", "out"],
        "ensemble": [*target, "--corpus", "small", "--max-workers", "1", "--output-dir", "out"],
        "nxn": [*several, "--locales", "af-ZA", "--output-dir", "out"],
        "sweep": [*several, *grid, "--output-dir", "out"],
        "sts": ["--model-path", "models/tiny_small_nl-NL", "--data-dir", "pairs", "--device", "cpu"],
    }


QUIET = ["--data.max_length", "32", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
COMMANDS = ("fit", "validate", "test", "predict", "merge", "ensemble", "nxn", "sweep", "sts")


def refused(command: str, base: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command is refused."""
    assert main([command, *commands(base)[command]]) == 2
    lines = [line for line in capsys.readouterr().err.strip().splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", EVERYWHERE)
def test_every_command_refuses_it_in_one_line_and_writes_nothing(
    what: str, command: str, models: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, expected = EVERYWHERE[what]
    damage(models / "tiny_small_nl-NL")
    line = refused(command, tiny_base, capsys)
    assert expected in line
    assert "nl-NL" in line
    assert not (models / "it_ran").exists()
    assert sorted(path.name for path in models.parent.iterdir()) == ["models", "pairs"]


@pytest.mark.parametrize("what", DAMAGED)
def test_what_is_damaged_is_named(what: str, models: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage, expected = DAMAGED[what]
    damage(models / "tiny_small_nl-NL")
    line = refused("test", tiny_base, capsys)
    assert expected in line
    assert "nl-NL" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_a_sound_folder_passes(command: str, models: Path, tiny_base: Path) -> None:
    dry = ["--dry-run"] if command in ("fit", "merge", "sweep") else []
    assert main([command, *commands(tiny_base)[command], *dry]) == 0


def test_logits_that_are_not_finite_are_no_scores(
    models: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = models / "tiny_small_nl-NL"
    state = load_file(folder / WEIGHTS)
    for name in ("classifier.out_proj.weight", "classifier.dense.weight"):
        state[name] = torch.full_like(state[name], 3e38)
    save_file(state, folder / WEIGHTS, {"format": "pt"})
    for command in ("test", "predict", "ensemble", "nxn"):
        assert "logits" in refused(command, tiny_base, capsys)
