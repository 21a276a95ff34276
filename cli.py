"""The program in a checkout: `python cli.py COMMAND [arguments]`; once installed it is `mu-lightning`."""

import sys

from mu_lightning.commands.program import COMMANDS, main

__all__ = ["COMMANDS", "main"]

if __name__ == "__main__":
    sys.exit(main())
