"""Source of the texts for merge methods."""

from typing import Literal

Mode = Literal["target", "sources", "both"]
MODES: tuple[Mode, ...] = ("target", "sources", "both")
# Default texts of methods: those of the sources as in the paper, or those of the target.
DEFAULT_MODES: dict[str, Mode] = {"regmean": "sources", "regmean_plus": "sources"}
