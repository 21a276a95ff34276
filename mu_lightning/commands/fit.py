"""The arguments of `fit`, `validate` and `test`; what runs them is imported once they are to run.

They are LightningCLI's verbs. Its own help would take seconds of imports, so `--help` is printed from the same groups
here.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from mu_lightning.commands.names import PREWEIGHT
from mu_lightning.commands.older_names import older_names, with_current_names
from mu_lightning.commands.parsing import OneLineErrors
from mu_lightning.data.registry import CORPORA
from mu_lightning.merging.registry import METHODS
from mu_lightning.schedules.schedules import SCHEDULES
from mu_lightning.settings import (
    DEFAULT_MODELS_DIR,
    TRAINER_DEFAULTS,
    CheckpointSettings,
    CorpusSettings,
    DataSettings,
    GuardSettings,
    MergeSettings,
    ModelSettings,
    TypologySettings,
)
from mu_lightning.typology.features import FEATURE_SETS
from mu_lightning.utilities.adapters.parser_arguments import arguments
from mu_lightning.utilities.resources import resource

SUMMARIES = {
    "fit": "Trains classifiers: one locale, several side by side, or several merged towards a target while they train.",
    "validate": "Scores a trained classifier on the dev split of any locales.",
    "test": "Scores a trained classifier on the test split of any locales, with intervals.",
}

CORPUS_FIELDS = tuple(one.name for one in fields(CorpusSettings))

# Short names of configuration keys, the same on every verb; what stands in a YAML file is the key.
SHORT_NAMES = {
    "--max-epochs": "--trainer.max_epochs",
    "--precision": "--trainer.precision",
    "--devices": "--trainer.devices",
    "--seed": "--seed_everything",
    **{f"--{name.replace('_', '-')}": f"--data.{name}" for name in CORPUS_FIELDS},
    "--batch-size": "--data.batch_size",
    "--base": "--model.base",
    "--learning-rate": "--model.learning_rate",
    "--adapter": "--model.adapter",
    "--members-in-memory": "--model.members_in_memory",
    "--merge-method": "--merge.method",
    "--merge-frequency": "--merge.frequency",
    "--device": "--trainer.accelerator",
    "--checkpoint-before-merge": "--checkpoint.before_merge",
    "--schedule": "--merge.schedule",
    "--adaptive-merge-frequency": "--merge.adaptive",
    "--performance-merge-trigger": "--merge.performance_trigger",
    "--convergence-threshold": "--merge.convergence_threshold",
    "--keep-merges": "--merge.keep_merges",
    "--feature-set": "--typology.feature_set",
    "--similarity-source": "--typology.similarity_source",
    "--similarity-matrix": "--typology.similarity_matrix",
    "--top-k": "--typology.top_k",
    "--sinkhorn-iters": "--typology.sinkhorn_iters",
    "--temperature": "--typology.temperature",
}

# Short names that need no value: they switch something on.
SWITCHES = {"--adaptive-merge-frequency", "--checkpoint-before-merge", "--performance-merge-trigger"}

# Keys of the groups whose values are a registry's names, alone or as a part.
REGISTRIES: Mapping[str, Collection[str]] = {
    "--data.corpus": CORPORA,
    "--merge.method": METHODS,
    "--merge.schedule": SCHEDULES,
    "--typology.feature_set": FEATURE_SETS,
}

# Of arguments that switch something on: alone or with a value, so that false overrides a configuration file.
_SWITCH: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}


def add_arguments(parser: ArgumentParser, verb: str) -> None:
    """Adds a verb's own keys and groups; LightningCLI adds ``trainer``, ``--config`` and ``--seed_everything``."""
    parser.add_argument("--locales", nargs="+", type=str, default=None, help=_locales_help(verb))
    parser.add_argument(
        "--output-dir", type=Path | None, default=None, help="the run's folder; refused if it holds a result already"
    )
    parser.add_class_arguments(DataSettings, "data")
    _list_names(parser)
    if verb != "fit":
        parser.add_argument("--model-path", type=str, required=True, help="a model folder, or a hub id")
        return
    parser.add_argument("--target-lang", type=str | None, default=None, help="the locale to merge for; none: no merges")
    parser.add_argument(
        "--target-languages",
        nargs="+",
        type=str,
        default=None,
        help="several targets, each with its own weights and merged model; the first decides",
    )
    parser.add_argument(
        "--num-languages", type=int, default=5, help="sources to choose by typology where --locales is not given"
    )
    parser.add_argument(
        "--preweight",
        type=PREWEIGHT,
        default="uriel",
        help=f"where the sources' weights come from: {PREWEIGHT.names}",
    )
    parser.add_argument(
        "--weights",
        type=str | dict[str, float] | None,
        default=None,
        help="the weights of --preweight manual: nl-NL=0.7,de-DE=0.3",
    )
    parser.add_argument(
        "--multilingual",
        **_SWITCH,
        help="one model on the train rows of all the locales together; with a target: of its sources, without merges",
    )
    parser.add_argument(
        "--exclude",
        nargs="+",
        type=str,
        default=None,
        help="locales to leave out of --locales, of a target's sources, or (without either) of all in the corpus; "
        "without a target each model is scored on them too, unseen",
    )
    parser.add_argument(
        "--all-leave-one-out",
        **_SWITCH,
        help="one model for each locale, on the train rows of all the others, scored on the one left out",
    )
    parser.add_argument(
        "--compare",
        **_SWITCH,
        help="train the sources without merges, one model on all of them and the target natively too, and end with one "
        "table of all",
    )
    parser.add_argument(
        "--models-dir", type=Path, default=DEFAULT_MODELS_DIR, help="where source models go if there is no target"
    )
    parser.add_argument(
        "--skip-existing",
        **_SWITCH,
        help="leave out the locales that have a model in --models-dir already",
    )
    parser.add_argument(
        "--dry-run",
        **_SWITCH,
        help="check everything, print what the run will do and the memory that it will take, and write nothing",
    )
    parser.add_argument("--resume", **_SWITCH, help="go on from the last checkpoint in --output-dir")
    parser.add_argument("--ckpt-path", type=str | None, default=None, help="go on from this checkpoint of the run")
    parser.add_argument(
        "--save-config",
        **_SWITCH,
        help="write the whole configuration to config.yaml in the run's folder",
    )
    parser.add_argument("--enable-tensorboard", **_SWITCH, help="log to TensorBoard too")
    parser.add_argument("--enable-wandb", **_SWITCH, help="log to W&B too (WANDB_MODE=offline: no account)")
    parser.add_argument(
        "--callbacks",
        type=dict[str, str | None] | None,
        default=None,
        help="other class paths for parts of a run, null for none: {progress: my_package.MyProgress, dashboard: null}",
    )
    parser.add_class_arguments(ModelSettings, "model")
    parser.add_class_arguments(TypologySettings, "typology")
    parser.add_class_arguments(MergeSettings, "merge")
    parser.add_class_arguments(CheckpointSettings, "checkpoint")
    parser.add_class_arguments(GuardSettings, "guard")
    _list_names(parser)


def _list_names(parser: ArgumentParser) -> None:
    """Adds a registry's names to the help of the keys whose values they are: a settings class knows no registry."""
    for action in arguments(parser):
        for name in set(action.option_strings) & REGISTRIES.keys():
            names = ", ".join(REGISTRIES[name])
            if names not in (action.help or ""):
                action.help = f"{action.help} Known: {names}."


def parser(verb: str) -> ArgumentParser:
    """The verb's parser without LightningCLI's part: for help and for the manual."""
    result = OneLineErrors(prog=f"mu-lightning {verb}", description=SUMMARIES[verb], add_help=True)
    result.add_argument("-c", "--config", action="config", help="a YAML file with any of these keys")
    result.add_argument("--seed_everything", type=int, default=0, help="the run's seed")
    add_arguments(result, verb)
    trainer = result.add_argument_group("trainer", "Lightning's Trainer: --trainer.NAME for any of its arguments")
    for name, default in TRAINER_DEFAULTS.items():
        if verb != "fit" and name not in ("devices", "precision"):
            continue
        more = "; auto: bf16-mixed where the hardware multiplies bfloat16, else 32-true" if name == "precision" else ""
        trainer.add_argument(f"--trainer.{name}", default=default, help=f"see Lightning's Trainer{more}")
    return result


def expand_short_names(argv: list[str], short_names: Mapping[str, str] = SHORT_NAMES) -> list[str]:
    """The arguments with short names replaced by the configuration keys that they stand for.

    >>> expand_short_names(["--top-k", "5", "--seed=1"])
    ['--typology.top_k', '5', '--seed_everything=1']
    >>> expand_short_names(["--adaptive-merge-frequency", "--top-k", "5"])
    ['--merge.adaptive', 'true', '--typology.top_k', '5']
    """
    argv = with_current_names(argv, older_names("fit"))
    expanded = []
    for place, word in enumerate(argv):
        name, equals, value = word.partition("=")
        expanded.append(short_names.get(name, name) + equals + value)
        if word in SWITCHES and argv[place + 1 : place + 2] not in (["true"], ["false"]):
            expanded.append("true")
    return expanded


def run(verb: str, argv: list[str]) -> int:
    """Runs one of the three verbs; returns the exit status.

    Args:
        verb: ``fit``, ``validate`` or ``test``.
        argv: its arguments.
    """
    if {"-h", "--help"} & set(argv):
        parser(verb).print_help()
        print("\nshort names:", ", ".join(f"{short} = {key}" for short, key in sorted(SHORT_NAMES.items())))
        return 0
    from mu_lightning.commands.lightning_cli import FitCLI, ScoreCLI

    words = [verb, *_shipped_configs(expand_short_names(argv))]
    if verb == "fit":
        FitCLI(words)
    else:
        ScoreCLI(words)
    return 0


def _locales_help(verb: str) -> str:
    if verb == "fit":
        return "the locales to train on: en-US,fr-FR or all; with a target: its sources (default: by typology)"
    return "the locales to read, en-US,fr-FR or en-US fr-FR"


def _shipped_configs(argv: list[str]) -> list[str]:
    result = []
    for place, word in enumerate(argv):
        if word.startswith("--config="):
            word = f"--config={resource(word.partition('=')[2])}"
        elif place and argv[place - 1] in ("-c", "--config"):
            word = str(resource(word))
        result.append(word)
    return result
