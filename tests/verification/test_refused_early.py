"""A mistake in the arguments of any command is answered before torch, Lightning or transformers are imported."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import cli

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "lightning", "transformers"}
TARGET = ["fit", "--target-lang", "af-ZA"]
# What is wrong: the command line, and words of the answer.
WRONG: dict[str, tuple[list[str], list[str]]] = {
    "a word for a number": ([*TARGET, "--batch-size", "many"], ["data.batch_size", "'many'", "int"]),
    "a number out of range": ([*TARGET, "--batch-size", "0"], ["data.batch_size", "at least 1"]),
    "a negative rate": ([*TARGET, "--learning-rate=-1"], ["model.learning_rate", "above 0"]),
    "an unknown target": (["fit", "--target-lang", "africans"], ["africans"]),
    "an unknown source": (["fit", "--locales", "nl-BE,de-DE"], ["nl-BE", "nl-NL"]),
    "an unknown locale to exclude": (["fit", "--exclude", "nl-BE"], ["nl-BE", "nl-NL"]),
    "an unknown corpus": ([*TARGET, "--corpus", "massiv"], ["corpus 'massiv'", "massive"]),
    "an unknown weight source": ([*TARGET, "--preweight", "uriell"], ["uriell", "uriel"]),
    "an unknown method": ([*TARGET, "--merge-method", "liner"], ["liner", "linear"]),
    "an unknown schedule": ([*TARGET, "--schedule", "adaptve"], ["adaptve", "adaptive"]),
    "an unknown feature set": ([*TARGET, "--feature-set", "sintax_knn"], ["sintax_knn", "syntax_knn"]),
    "an unknown key": ([*TARGET, "--data.corpsu", "cldr"], ["--data.corpsu", "--data.corpus"]),
    "an unknown argument of the Trainer": ([*TARGET, "--trainer.max_epoch", "3"], ["--trainer.max_epochs"]),
    "a word for the Trainer's number": ([*TARGET, "--max-epochs", "x"], ["trainer.max_epochs", "'x'"]),
    "a configuration that is not there": (["fit", "--config", "none.yaml"], ["none.yaml"]),
    "no model to test": (["test", "--locales", "nl-NL"], ["model_path"]),
    "an unknown locale to test": (["test", "--model-path", "x", "--locales", "nl-BE"], ["nl-BE", "nl-NL"]),
    "a short name of another command": (["test", "--merge-method", "ties"], ["--merge-method"]),
    "an unknown split to classify": (["predict", "--split", "tset"], ["tset", "test"]),
    "an unknown corpus to describe": (["data", "--corpus", "massiv"], ["massiv", "massive"]),
    "an unknown method to merge by": (["merge", "--merge-method", "tais"], ["tais", "ties"]),
    "an unknown vote": (["ensemble", "--voting-method", "sofd"], ["sofd", "soft"]),
    "an unknown locale of the matrix": (["nxn", "--locales", "africans"], ["africans"]),
    "an unknown vote of a sweep": (["sweep", "--voting-methods", "sofd"], ["sofd", "soft"]),
    "an unknown pooling": (["sts", "--pooling", "maen"], ["maen", "mean"]),
    "an unknown split": (["report", "x", "--split", "tset"], ["tset", "test"]),
    "an unknown neighbor": (["similarity", "--target-lang", "africans"], ["africans"]),
    "an unknown schedule to replay": (["schedule", "--history", "x", "--schedule", "adaptve"], ["adaptve", "adaptive"]),
    "a word for a size": (["pretrain", "--size.steps", "x"], ["size.steps", "'x'"]),
}
CASES = {f"{name} --confg": ([name, "--confg", "x.yaml"], ["--confg", "--config"]) for name in cli.COMMANDS} | WRONG

CODE = """
import contextlib, io, json, sys
import cli
answers = []
for arguments in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        status = cli.main(arguments)
    answers.append((status, said.getvalue(), sorted({name.split(".")[0] for name in sys.modules})))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, set[str]]]:
    """What -> exit status, standard error, and the modules that are loaded by then: all in one process, in order."""
    command = [sys.executable, "-c", CODE, json.dumps([arguments for arguments, _ in CASES.values()])]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(
        command, cwd=elsewhere, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert list(elsewhere.iterdir()) == []
    found = json.loads(done.stdout)
    return {what: (status, said, set(modules)) for what, (status, said, modules) in zip(CASES, found, strict=True)}


@pytest.mark.parametrize("what", CASES)
def test_it_is_refused_in_one_line_before_anything_heavy_is_imported(
    what: str, answers: dict[str, tuple[int, str, set[str]]]
) -> None:
    status, said, modules = answers[what]
    assert status == 2
    (line,) = said.strip().splitlines()
    assert line.startswith("error: ")
    assert [word for word in CASES[what][1] if word not in line] == [], line
    assert modules.isdisjoint(HEAVY)
