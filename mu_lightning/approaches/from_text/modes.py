"""Whose texts a merge method learns from."""

from typing import Literal

Mode = Literal["target", "sources", "both"]
MODES: tuple[Mode, ...] = ("target", "sources", "both")
# Which texts a method reads where nothing is said: as in its paper, the sources' own; without a paper's choice, the
# target's, whose model is wanted.
DEFAULT_MODES: dict[str, Mode] = {"regmean": "sources", "regmean_plus": "sources"}
