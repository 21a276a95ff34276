"""What a run says on the terminal that is not ours."""

import logging
import warnings


def quiet_lightning() -> None:
    """Silences what Lightning says at each start (devices, tips, deprecations inside it): no user can act on it."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
    for hint in ("does not have many workers", "smaller than the logging interval"):
        warnings.filterwarnings("ignore", message=f".*{hint}.*")
