"""Name of the program as started by the user."""

import sys
from pathlib import Path


def program_name() -> str:
    """Returns the command that started the program."""
    script = Path(sys.argv[0])
    if script.name == "cli.py":
        return "python cli.py"
    return "python -m mu_lightning" if script.parts[-2:] == ("mu_lightning", "__main__.py") else "mu-lightning"
