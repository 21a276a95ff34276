"""What the benchmarks share: a section of the report is replaced, the others stay."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def sections() -> Any:
    spec = importlib.util.spec_from_file_location("sections", BENCHMARKS / "sections.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_section_is_replaced_and_the_others_stay_in_their_order(sections: Any, tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    sections.replace_section("Merging", "one\n\n### A part\n\ntwo\n", path)
    sections.replace_section("Evaluation", "three", path)
    sections.replace_section("Merging", "four\n\n### Another part\n\nfive", path)
    text = path.read_text(encoding="utf-8")
    assert text == (sections.HEAD + "\n## Merging\n\nfour\n\n### Another part\n\nfive\n\n## Evaluation\n\nthree\n")


def test_the_machine_is_named_with_its_cores(sections: Any) -> None:
    assert " cores, " in sections.machine()
    assert "GiB" in sections.machine()
