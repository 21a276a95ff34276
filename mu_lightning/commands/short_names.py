"""Short names of configuration keys for `fit`, `validate` and `test`; YAML files use the keys."""

from dataclasses import fields

from mu_lightning.commands.older_names import older_names, with_current_names
from mu_lightning.settings import CorpusSettings

_EVERYWHERE = {
    "--seed": "--seed_everything",
    **{f"--{one.name.replace('_', '-')}": f"--data.{one.name}" for one in fields(CorpusSettings)},
    "--max-length": "--data.max_length",
    "--device": "--trainer.accelerator",
    "--devices": "--trainer.devices",
    "--precision": "--trainer.precision",
}
_SCORING = _EVERYWHERE | {"--batch-size": "--data.eval_batch_size"}
_TRAINING = _EVERYWHERE | {
    "--batch-size": "--data.batch_size",
    "--max-epochs": "--trainer.max_epochs",
    "--base": "--model.base",
    "--learning-rate": "--model.learning_rate",
    "--adapter": "--model.adapter",
    "--members-in-memory": "--model.members_in_memory",
    "--merge-method": "--merge.method",
    "--merge-frequency": "--merge.frequency",
    "--schedule": "--merge.schedule",
    "--adaptive-merge-frequency": "--merge.adaptive",
    "--performance-merge-trigger": "--merge.performance_trigger",
    "--convergence-threshold": "--merge.convergence_threshold",
    "--keep-merges": "--merge.keep_merges",
    "--checkpoint-before-merge": "--checkpoint.before_merge",
    "--feature-set": "--typology.feature_set",
    "--similarity-source": "--typology.similarity_source",
    "--similarity-matrix": "--typology.similarity_matrix",
    "--top-k": "--typology.top_k",
    "--weighting": "--typology.weighting",
    "--sinkhorn-iters": "--typology.sinkhorn_iters",
    "--temperature": "--typology.temperature",
}

# Short names of switches.
_SWITCHES = {"--adaptive-merge-frequency", "--checkpoint-before-merge", "--performance-merge-trigger"}

# Frequent arguments in ``--help``, by section.
FREQUENT: dict[str, dict[str, tuple[str, ...]]] = {
    "fit": {
        "models": (
            "--config",
            "--locales",
            "--target-lang",
            "--num-languages",
            "--multilingual",
            "--compare",
        ),
        "data and base": ("--corpus", "--data-dir", "--base"),
        "training": ("--max-epochs", "--batch-size", "--learning-rate", "--precision", "--devices", "--seed"),
        "merging": ("--preweight", "--weighting", "--merge-method", "--merge-frequency", "--schedule"),
        "output": ("--output-dir", "--dry-run", "--resume"),
    },
}
FREQUENT["validate"] = FREQUENT["test"] = {
    "evaluation": ("--config", "--model-path", "--locales", "--corpus", "--data-dir"),
    "settings": ("--batch-size", "--max-length", "--precision", "--device", "--devices", "--seed"),
    "output": ("--output-dir",),
}


def short_names(command: str) -> dict[str, str]:
    """Returns the key of each short name of a command."""
    return _TRAINING if command == "fit" else _SCORING


def expand_short_names(command: str, argv: list[str]) -> list[str]:
    """Replaces short and older names by configuration keys.

    >>> expand_short_names("fit", ["--top-k", "5", "--seed=1"])
    ['--typology.top_k', '5', '--seed_everything=1']
    >>> expand_short_names("fit", ["--adaptive-merge-frequency", "--top-k", "5"])
    ['--merge.adaptive', 'true', '--typology.top_k', '5']
    """
    argv = with_current_names(argv, older_names(command))
    keys = short_names(command)
    expanded = []
    for place, word in enumerate(argv):
        name, equals, value = word.partition("=")
        expanded.append(keys.get(name, name) + equals + value)
        if word in _SWITCHES and argv[place + 1 : place + 2] not in (["true"], ["false"]):
            expanded.append("true")
    return expanded
