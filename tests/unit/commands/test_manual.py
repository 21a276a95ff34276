"""The manual tells the truth: every verb and every flag stands in docs/cli.md, as the parsers have them."""

from pathlib import Path

import pytest

from cli import COMMANDS
from mu_lightning.commands.fit import SHORT_NAMES
from mu_lightning.commands.manual import flags, reference

MANUAL = Path(__file__).parents[3] / "docs" / "cli.md"


def test_the_reference_is_what_the_parsers_say() -> None:
    printed = MANUAL.read_text(encoding="utf-8").partition("Printed by `python -m mu_lightning.commands.manual`.")[2]
    assert printed.strip() == reference(COMMANDS).strip(), "run: python -m mu_lightning.commands.manual"


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_flag_of_a_verb_stands_in_its_section(verb: str) -> None:
    section = MANUAL.read_text(encoding="utf-8").partition(f"### {verb}\n")[2].partition("\n### ")[0]
    names = [name for action in flags(verb) for name in action.option_strings]
    assert names
    assert [name for name in names if f"`{name}`" not in section] == []


def test_every_short_name_stands_for_a_key_that_exists() -> None:
    keys = {name for action in flags("fit") for name in action.option_strings}
    assert [key for key in SHORT_NAMES.values() if key not in keys] == []
