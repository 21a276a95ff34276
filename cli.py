"""The program: a verb and what runs it. `python cli.py --help` lists the verbs without importing anything heavy."""

import shlex
import sys
from collections.abc import Callable

Run = Callable[[list[str]], int]


def _lightning(verb: str) -> Run:
    def run(argv: list[str]) -> int:
        from mu_lightning.verbs import fit

        if verb != "fit" or {"-h", "--help"} & set(argv):
            return fit.run(verb, argv)
        import callbacks

        return fit.run(verb, argv, {name: getattr(callbacks, name) for name in callbacks.__all__})

    return run


def _merge(argv: list[str]) -> int:
    from mu_lightning.verbs import merge

    return merge.run(argv)


def _ensemble(argv: list[str]) -> int:
    from mu_lightning.verbs import ensemble

    return ensemble.run(argv)


def _nxn(argv: list[str]) -> int:
    from mu_lightning.verbs import nxn

    return nxn.run(argv)


def _sweep(argv: list[str]) -> int:
    from mu_lightning.verbs import sweep

    return sweep.run(argv)


def _sts(argv: list[str]) -> int:
    from mu_lightning.verbs import sts

    return sts.run(argv)


def _similarity(argv: list[str]) -> int:
    from mu_lightning.verbs import similarity

    return similarity.run(argv)


def _report(argv: list[str]) -> int:
    from mu_lightning.verbs import report

    return report.run(argv)


def _pretrain(argv: list[str]) -> int:
    from mu_lightning.verbs import pretrain

    return pretrain.run(argv)


def _workspace(argv: list[str]) -> int:
    from mu_lightning.verbs import workspace

    return workspace.run(argv)


VERBS: dict[str, tuple[str, Run]] = {
    "fit": ("train classifiers: one locale, several, or several merged towards a target", _lightning("fit")),
    "validate": ("score a trained classifier on dev splits", _lightning("validate")),
    "test": ("score a trained classifier on test splits", _lightning("test")),
    "predict": ("write a trained classifier's predictions", _lightning("predict")),
    "merge": ("merge source models into one for a target", _merge),
    "ensemble": ("let source models vote on a target", _ensemble),
    "nxn": ("score every source model on every locale", _nxn),
    "sweep": ("run a grid of targets, merge methods, weights, votes and baselines", _sweep),
    "sts": ("score sentence embeddings against people's judgements of similarity", _sts),
    "similarity": ("show a target's typological neighbours and their weights", _similarity),
    "report": ("write what results say: a page, tables, figures", _report),
    "pretrain": ("make a small multilingual base from a corpus' text", _pretrain),
    "workspace": ("save a W&B workspace that is laid out for merges", _workspace),
}


def usage() -> str:
    """The program's help."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {summary}" for name, (summary, _) in VERBS.items())
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
    from mu_lightning.errors import Interrupted, UserError, unknown

    try:
        if argv[0] not in VERBS:
            raise unknown("verb", argv[0], VERBS)
        return VERBS[argv[0]][1](argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Interrupted as interruption:
        print(f"{interruption}: go on with: {_resuming(argv)}", file=sys.stderr)
        return interruption.status
    except KeyboardInterrupt:
        print("interrupted: nothing half-written is left; a run goes on with --resume", file=sys.stderr)
        return 130


def _resuming(argv: list[str]) -> str:
    """The command that goes on with an interrupted one."""
    words = [word for place, word in enumerate(argv) if "--ckpt-path" not in (word, argv[place - 1])]
    program = "python cli.py" if sys.argv[0].endswith("cli.py") else "mu-lightning"
    return f"{program} {shlex.join(words if '--resume' in words else [*words, '--resume'])}"


if __name__ == "__main__":
    sys.exit(main())
