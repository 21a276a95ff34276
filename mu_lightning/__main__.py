"""The program as ``python -m mu_lightning COMMAND [arguments]``."""

import sys

from mu_lightning.commands.program import main

if __name__ == "__main__":
    sys.exit(main())
