"""Silences messages of other libraries on the terminal."""

import logging
import warnings


def quiet_lightning() -> None:
    """Silences Lightning's messages at startup (devices, tips, internal deprecations)."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
    for hint in ("does not have many workers", "smaller than the logging interval"):
        warnings.filterwarnings("ignore", message=f".*{hint}.*")
