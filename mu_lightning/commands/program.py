"""Entry point: commands and their modules. Help does not import heavy packages."""

import importlib
import os
import shlex
import sys
from contextlib import suppress

from mu_lightning import __version__
from mu_lightning.commands.invocation import program_name
from mu_lightning.utilities.errors import Interrupted, UserError, unknown
from mu_lightning.utilities.system_errors import told

# Commands of LightningCLI share a module; other commands have a module of the same name.
LIGHTNING_COMMANDS = ("fit", "validate", "test")

# Arguments for resuming an interrupted command; nxn and sweep skip existing results.
GO_ON = {"fit": ("--resume",), "pretrain": ("--resume",), "nxn": (), "sweep": ()}

COMMANDS: dict[str, str] = {
    "fit": "train classifiers, with optional merges for a target",
    "validate": "evaluate a classifier on dev splits",
    "test": "evaluate a classifier on test splits",
    "predict": "classify texts from the command line, a file, a pipe or a corpus",
    "export": "export a classifier to ONNX",
    "merge": "merge source models for a target",
    "ensemble": "evaluate ensembles of source models on a target",
    "nxn": "evaluate all source models on all locales",
    "sweep": "run a grid of targets by approaches by seeds",
    "reproduce": "recompute a stored result and compare it",
    "sts": "score sentence embeddings against people's judgements of similarity",
    "data": "describe a corpus",
    "advise": "advise which languages to train on for a target",
    "similarity": "show the typological neighbors of a target and their weights",
    "report": "create a report of results: page, tables, figures",
    "schedule": "replay a merge schedule on the history of a run",
    "pretrain": "pretrain a small multilingual base",
    "workspace": "save a W&B workspace for merges",
}


def usage() -> str:
    """Formats the help of the program."""
    name, width = program_name(), max(map(len, COMMANDS))
    commands = "\n".join(f"  {command:<{width}}  {summary}" for command, summary in COMMANDS.items())
    return (
        f"usage: {name} COMMAND [arguments]\n\n"
        "Trains XLM-R intent classifiers for several locales together and merges them by typology.\n\n"
        f"commands:\n{commands}\n\n"
        f"  {name} COMMAND --help     arguments of a command\n"
        f"  {name} --version          the version\n\n"
        f"start with: {name} fit --config configs/quickstart.yaml"
    )


def main(argv: list[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 done, 1 some failed, 2 a usage error, 130 or 143 stopped."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        status = _run(argv)
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as interruption:
        print(f"{interruption}{_going_on(argv) if interruption.resumable else ''}", file=sys.stderr)
        return interruption.status
    except BrokenPipeError:  # the reader closed the pipe, as in `... | head`
        _discard_output()
        return 141
    except OSError as error:
        if error.errno is None:  # not the system's, but some library's own
            raise
        print(f"error: {told(error)}", file=sys.stderr)
        with suppress(OSError):
            sys.stdout.flush()
            return 2
        _discard_output()
        return 2
    except KeyboardInterrupt:
        again = "" if GO_ON.get(argv[0]) else _going_on(argv)  # nothing has begun that could be resumed
        print(f"interrupted; no partial output was left{again}", file=sys.stderr)
        return 130


def _discard_output() -> None:
    """Lets go of what is still to be printed: Python would try once more when it exits, and complain."""
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(__version__)
        return 0
    command, argv = argv[0], argv[1:]
    if command not in COMMANDS:
        raise unknown("command", command, COMMANDS)
    if command in LIGHTNING_COMMANDS:
        status: int = importlib.import_module("mu_lightning.commands.fit").run(command, argv)
        return status
    status = importlib.import_module(f"mu_lightning.commands.{command}").run(argv)
    return status


def _going_on(argv: list[str]) -> str:
    """Formats the command line for resuming an interrupted command, if any."""
    if argv[0] not in GO_ON:
        return ""
    chosen = ("--ckpt-path", "--ckpt_path")  # resume from the last checkpoint
    words = [
        word
        for place, word in enumerate(argv)
        if word.partition("=")[0] not in chosen and argv[place - 1] not in chosen
    ]
    words += [word for word in GO_ON[argv[0]] if word not in words]
    return f"; resume with: {program_name()} {shlex.join(words)}"
