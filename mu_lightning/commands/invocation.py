"""How the program was started."""

import sys
from pathlib import Path


def program_name() -> str:
    """What a user types to start this program, as it was started now."""
    script = Path(sys.argv[0])
    if script.name == "cli.py":
        return "python cli.py"
    return "python -m mu_lightning" if script.parts[-2:] == ("mu_lightning", "__main__.py") else "mu-lightning"
