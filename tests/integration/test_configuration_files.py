"""A configuration file that loses a key, is of another encoding or grows without bound is refused by every command."""

import importlib
from pathlib import Path

import pytest

import cli
from mu_lightning.commands import fit
from mu_lightning.commands.program import COMMANDS as ALL
from mu_lightning.commands.program import LIGHTNING_COMMANDS

COMMANDS = [
    name
    for name in ALL
    if name in LIGHTNING_COMMANDS
    or "--config"
    in importlib.import_module(f"mu_lightning.commands.{name}").parser()._option_string_actions
]  # fmt: skip
BROKEN = {
    "a key twice": (b"seed: 1\nlocales: [nl-NL]\nseed: 2\n", "'seed' is repeated in a mapping, in lines 1 and 3"),
    "another encoding": ("locales: [nl-NL]".encode("utf-16"), "UTF-16"),
    "a byte of another encoding": (b"locales: [nl-NL]\n# caf\xe9\n", "line 2: the byte 0xe9"),
    "deep nesting": (b"locales: " + b"[" * 20_000, "levels deep"),
    "a Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", BROKEN)
def test_every_command_refuses_it_in_one_line(
    what: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content, expected = BROKEN[what]
    (tmp_path / "file.yaml").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    assert cli.main([command, "--config", "file.yaml"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "file.yaml" in line
    assert expected in line
    assert [path.name for path in tmp_path.iterdir()] == ["file.yaml"]


def test_the_commands_are_all_but_those_without_a_configuration_file() -> None:
    assert {"fit", "validate", "test", "predict", "merge", "ensemble", "nxn", "sweep", "sts"} <= set(COMMANDS)
    assert fit.parser("fit")._option_string_actions["--config"]
