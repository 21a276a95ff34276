"""Deprecated names of arguments.

``--help`` does not list them; see the table in docs/cli.md.
"""

from collections.abc import Mapping

# Command -> older name -> current name, also for keys of configuration files.
OLDER_NAMES: Mapping[str, Mapping[str, str]] = {
    "advise": {"--target": "--target-lang"},
    "fit": {"--merge-algorithm": "--merge-method", "--ckpt_path": "--ckpt-path"},
    "merge": {"--output": "--output-dir", "--method": "--merge-method", "--merge-algorithm": "--merge-method"},
    "report": {"--output": "--output-dir"},
    "pretrain": {"--output": "--output-dir"},
    "predict": {"--output": "--output-file"},
    "similarity": {"--output": "--output-file"},
    "workspace": {"--output": "--output-file"},
    "schedule": {"--output": "--figure"},
}

# Arguments of earlier versions without a single counterpart: command -> name -> replacement.
OLDER_ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "merge": {
        "--mode": "`--preweight` and `--merge-method`: `similarity` is uriel and linear, `average` equal and linear, "
        "`manual` and `shuffled` likewise, `dare` is dare_linear, and any method's name is that method",
        "--base-model": "`--base`; unlike it, `--base-model` does not select source models",
    },
    "sweep": {
        "--modes": "`--preweights` and `--methods`; see `sweep --list-modes`",
        "--base-model": "`--base`; unlike it, `--base-model` does not select source models",
    },
}

# Older names of weight sources.
OLDER_PREWEIGHTS: Mapping[str, str] = {"uniform": "equal", "average": "equal"}
# Older names of a sweep's baselines.
OLDER_BASELINES: Mapping[str, str] = {"uniform": "equal", "average": "equal"}


def older_names(command: str) -> Mapping[str, str]:
    """Returns the older names of a command with current names."""
    return OLDER_NAMES.get(command, {})


def with_current_names(words: list[str], older: Mapping[str, str]) -> list[str]:
    """Replaces older names in a command line.

    >>> with_current_names(["--output", "x", "--top-k=3"], {"--output": "--output-dir"})
    ['--output-dir', 'x', '--top-k=3']
    """
    return [
        older.get(word.partition("=")[0], word.partition("=")[0]) + "".join(word.partition("=")[1:]) for word in words
    ]
