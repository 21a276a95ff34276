"""Names of arguments that are still understood, in place of which there is one name on every command now.

``--help`` does not list them; docs/cli.md has them in one table.
"""

from collections.abc import Mapping

# Command -> older name -> the name that it stands for; keys of a configuration file likewise.
OLDER_NAMES: Mapping[str, Mapping[str, str]] = {
    "fit": {"--merge-algorithm": "--merge-method", "--ckpt_path": "--ckpt-path"},
    "merge": {"--output": "--output-dir", "--method": "--merge-method", "--merge-algorithm": "--merge-method"},
    "report": {"--output": "--output-dir"},
    "pretrain": {"--output": "--output-dir"},
    "predict": {"--output": "--output-file"},
    "similarity": {"--output": "--output-file"},
    "workspace": {"--output": "--output-file"},
    "schedule": {"--output": "--figure"},
}

# Arguments of the older scripts that stand for no single argument of today: command -> name -> what to write now.
OLDER_ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "merge": {
        "--mode": "`--preweight` and `--merge-method`: `similarity` is uriel and linear, `average` equal and linear, "
        "`manual` and `shuffled` likewise, `dare` is dare_linear, and any method's name is that method",
        "--base-model": "`--base`; unlike it, `--base-model` says nothing of which source models are meant",
    },
    "sweep": {
        "--modes": "`--preweights` and `--methods`; `sweep --list-modes` shows what each stands for",
        "--base-model": "`--base`; unlike it, `--base-model` says nothing of which source models are meant",
    },
}

# Older names of weight sources.
OLDER_PREWEIGHTS: Mapping[str, str] = {"uniform": "equal", "average": "equal"}
# Older names of a sweep's baselines.
OLDER_BASELINES: Mapping[str, str] = {"uniform": "equal", "average": "equal"}


def older_names(command: str) -> Mapping[str, str]:
    """A command's older names and what they stand for."""
    return OLDER_NAMES.get(command, {})


def with_current_names(words: list[str], older: Mapping[str, str]) -> list[str]:
    """The command line with every older name replaced.

    >>> with_current_names(["--output", "x", "--top-k=3"], {"--output": "--output-dir"})
    ['--output-dir', 'x', '--top-k=3']
    """
    return [
        older.get(word.partition("=")[0], word.partition("=")[0]) + "".join(word.partition("=")[1:]) for word in words
    ]
