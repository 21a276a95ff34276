"""docs/tutorial.md, line by line: every command runs, in order, and prints what the page shows."""

import io
import re
import shlex
import sys
from pathlib import Path

import pytest

import cli
from tests.integration.tutorial_data import write_tutorial_data

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(bash|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PIPE = re.compile(r'echo "(?P<text>[^"]*)" \| (?P<command>.*)')


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    piped = PIPE.fullmatch(line)
    if piped:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{piped['text']}\n".encode())))
    words = shlex.split(piped["command"] if piped else line)
    assert words[:2] == ["python", "cli.py"], line
    assert cli.main(words[2:]) == 0, line


def plain(text: str) -> list[str]:
    """Lines without decimals, which differ between machines."""
    return [re.sub(r"0\.\d{4}", "0.####", line).rstrip() for line in text.strip("\n").splitlines()]


def test_every_line_of_the_tutorial_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tutorial_data(tmp_path / "my-data")
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    printed, seen = "", set()
    for kind, content in blocks:
        if kind == "bash":
            capsys.readouterr()
            for line in content.replace("\\\n", " ").splitlines():
                run(line, monkeypatch)
                seen.add(shlex.split(line)[2])
            printed = capsys.readouterr().out
        elif kind == "python":
            exec(compile(content, str(PAGE), "exec"), {})
        else:
            assert plain(printed) == plain(content)
    assert seen >= {"data", "advise", "fit", "predict", "export"}
    answers = (tmp_path / "answers.csv").read_text(encoding="utf-8").splitlines()
    assert answers[0] == "text,predicted,probability"
    assert len(answers) == 9
    assert (tmp_path / "runs" / "lb-onnx" / "model.onnx").is_file()
