"""The manual tells the truth: every command and every flag stands in docs/cli.md, as the parsers have them."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli import COMMANDS
from mu_lightning.commands.manual import flags
from mu_lightning.commands.short_names import short_names

MANUAL = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_reference_is_what_the_parsers_say() -> None:
    printed = MANUAL.read_text(encoding="utf-8").partition("Printed by `python -m mu_lightning.commands.manual`.")[2]
    # In a process of its own: in this one tests have registered names of theirs.
    command = [sys.executable, "-m", "mu_lightning.commands.manual"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert printed.strip() == said.strip(), "run: python -m mu_lightning.commands.manual"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_of_a_command_stands_in_its_section(command: str) -> None:
    section = MANUAL.read_text(encoding="utf-8").partition(f"### {command}\n")[2].partition("\n### ")[0]
    names = [name for action in flags(command) for name in action.option_strings]
    assert names
    assert [name for name in names if f"`{name}`" not in section] == []


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_every_short_name_stands_for_a_key_that_exists(command: str) -> None:
    keys = {name for action in flags(command) for name in action.option_strings}
    assert [key for key in short_names(command).values() if key not in keys] == []
