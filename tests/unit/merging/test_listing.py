"""Listings of the merge methods."""

from pathlib import Path

from mu_lightning.merging.listing import list_methods, methods_table
from mu_lightning.merging.registry import METHODS

ROOT = Path(__file__).parents[3]


def test_the_manual_s_table_is_what_the_registry_says() -> None:
    # python -c "from mu_lightning.merging.listing import methods_table; print(methods_table())"
    assert methods_table() in (ROOT / "docs" / "merging.md").read_text(encoding="utf-8")


def test_each_method_says_what_it_needs() -> None:
    blocks = dict(zip(METHODS, list_methods().split("\n\n"), strict=True))
    assert "[2 sources]" in blocks["slerp"].splitlines()[0]
    assert "[a base model; 1 source; no weights]" in blocks["arcee_fusion"].splitlines()[0]
    assert "density = 0.2 (0..1): share of" in blocks["ties"]
    assert "weighting = mean (mean or raw)" in blocks["linear"]
    assert all(METHODS[name].url in block for name, block in blocks.items())
