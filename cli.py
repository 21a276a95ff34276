"""The program: a verb and what runs it. `python cli.py --help` lists the verbs without importing anything heavy."""

import importlib
import os
import shlex
import sys

# LightningCLI's verbs, which share a module; every other verb is the module of its name in mu_lightning/commands.
LIGHTNING_VERBS = ("fit", "validate", "test", "predict")

# What to add to an interrupted verb's command, so that it goes on from where it was: nxn and sweep skip what is there.
GO_ON = {"fit": ("--resume",), "pretrain": ("--resume",), "nxn": (), "sweep": ()}

VERBS: dict[str, str] = {
    "fit": "train classifiers: one locale, several, or several merged towards a target",
    "validate": "score a trained classifier on dev splits",
    "test": "score a trained classifier on test splits",
    "predict": "write a trained classifier's predictions",
    "merge": "merge source models into one for a target",
    "ensemble": "let source models vote on a target",
    "nxn": "score every source model on every locale",
    "sweep": "run a grid of targets, merge methods, weights, votes and baselines",
    "reproduce": "recompute a stored result and say whether it is the same",
    "sts": "score sentence embeddings against people's judgements of similarity",
    "similarity": "show a target's typological neighbours and their weights",
    "report": "write what results say: a page, tables, figures",
    "schedule": "show when a schedule would have merged, over a run's recorded scores",
    "pretrain": "make a small multilingual base from a corpus' text",
    "workspace": "save a W&B workspace that is laid out for merges",
}


def _run(verb: str, argv: list[str]) -> int:
    if verb not in LIGHTNING_VERBS:
        # What a result came from may be any verb, so `reproduce` is given the program itself.
        more = (main,) if verb == "reproduce" else ()
        status: int = importlib.import_module(f"mu_lightning.commands.{verb}").run(argv, *more)
        return status
    from mu_lightning.commands import fit

    if verb != "fit" or {"-h", "--help"} & set(argv):
        return fit.run(verb, argv)
    import callbacks

    return fit.run(verb, argv, {name: getattr(callbacks, name) for name in callbacks.__all__})


def usage() -> str:
    """The program's help."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in VERBS.items())
    return (
        "usage: mu-lightning VERB [arguments]      (in a checkout: python cli.py VERB [arguments])\n\n"
        "Trains XLM-R intent classifiers for several locales together and merges them by typology.\n\n"
        f"verbs:\n{verbs}\n\n"
        "  mu-lightning VERB --help     a verb's arguments\n"
        "  mu-lightning --version       the version\n\n"
        "start with: mu-lightning fit --config configs/quickstart.yaml"
    )


def main(argv: list[str] | None = None) -> int:
    """Runs a verb; returns the exit status: 0 done, 1 some failed, 2 a mistake in what was asked, 130, 143 stopped."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0 if argv else 2
    if argv[0] == "--version":
        from mu_lightning import __version__

        print(__version__)
        return 0
    from mu_lightning.utilities.errors import Interrupted, UserError, unknown

    try:
        if argv[0] not in VERBS:
            raise unknown("verb", argv[0], VERBS)
        return _run(argv[0], argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as interruption:
        print(f"{interruption}{_going_on(argv)}", file=sys.stderr)
        return interruption.status
    except BrokenPipeError:  # whoever read the output has seen enough, as in `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains again when it exits
        return 141
    except KeyboardInterrupt:
        print(f"interrupted, nothing half-written is left{_going_on(argv)}", file=sys.stderr)
        return 130


def _going_on(argv: list[str]) -> str:
    """The end of a message that an interrupted verb ends with: the command that goes on with it, if there is one."""
    if argv[0] not in GO_ON:
        return ""
    words = [word for place, word in enumerate(argv) if "--ckpt-path" not in (word, argv[place - 1])]
    words += [word for word in GO_ON[argv[0]] if word not in words]
    program = "python cli.py" if sys.argv[0].endswith("cli.py") else "mu-lightning"
    return f": go on with: {program} {shlex.join(words)}"


if __name__ == "__main__":
    sys.exit(main())
