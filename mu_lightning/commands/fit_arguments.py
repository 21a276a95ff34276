"""The arguments of `fit`, `validate` and `test`, for LightningCLI and for what needs no Lightning."""

from argparse import SUPPRESS
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser

from mu_lightning.commands.invocation import program_name
from mu_lightning.commands.names import PREWEIGHT, with_names
from mu_lightning.commands.parsing import OneLineErrors
from mu_lightning.commands.short_names import FREQUENT, short_names
from mu_lightning.data.registry import CORPORA
from mu_lightning.merging.registry import METHODS
from mu_lightning.schedules.schedules import SCHEDULES
from mu_lightning.settings import (
    DEFAULT_MODELS_DIR,
    TRAINER_DEFAULTS,
    CheckpointSettings,
    DataSettings,
    GuardSettings,
    MergeSettings,
    ModelSettings,
    TrainerArguments,
    TypologySettings,
)
from mu_lightning.typology.features import FEATURE_SETS
from mu_lightning.utilities.adapters.parser_arguments import arguments

SUMMARIES = {
    "fit": "Trains classifiers: one locale, several side by side, or several merged towards a target while they train.",
    "validate": "Scores a trained classifier on the dev split of any locales.",
    "test": "Scores a trained classifier on the test split of any locales, with intervals.",
}

# Keys of the groups whose values are a registry's names, alone or as a part.
REGISTRIES: Mapping[str, Collection[str]] = {
    "--data.corpus": CORPORA,
    "--merge.method": METHODS,
    "--merge.schedule": SCHEDULES,
    "--typology.feature_set": FEATURE_SETS,
}

# The Trainer's arguments; those of type Any may be classes, which LightningCLI alone can read.
TRAINER_TYPES: Mapping[str, Any] = get_type_hints(TrainerArguments)
TRAINER_HELP = {
    "max_epochs": "epochs to train",
    "accelerator": "where to compute: auto, cpu or cuda",
    "devices": "how many devices compute together, or which: 2, [0,3] or auto",
    "precision": "32-true, bf16-mixed or another of Lightning's; auto: bf16-mixed where the hardware multiplies "
    "bfloat16, else 32-true",
    "gradient_clip_val": "largest norm of a member's gradient",
}

# Of arguments that switch something on: alone or with a value, so that false overrides a configuration file.
_SWITCH: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """Adds a command's own keys and groups; LightningCLI adds ``trainer``, ``--config`` and ``--seed_everything``."""
    parser.add_argument("--locales", nargs="+", type=str, default=None, help=_locales_help(command))
    parser.add_argument(
        "--output-dir", type=Path | None, default=None, help="the run's folder; refused if it holds a result already"
    )
    parser.add_class_arguments(DataSettings, "data")
    _list_names(parser)
    if command != "fit":
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
            action.help = with_names(action.help or "", REGISTRIES[name])


def parser(command: str) -> OneLineErrors:
    """The command's parser without what takes LightningCLI: for help, the manual, and checks before long imports."""
    result = OneLineErrors(prog=f"{program_name()} {command}", description=SUMMARIES[command])
    result.frequent = FREQUENT[command]
    result.short = short_names(command)
    result.more_names = tuple(result.short)
    result.add_argument("-c", "--config", action="config", help="a YAML file with any of these keys")
    result.add_argument("--seed_everything", type=int, default=0, help="the run's seed")
    add_arguments(result, command)
    for name, kind in TRAINER_TYPES.items():
        described = TRAINER_HELP.get(name, "see Lightning's Trainer") if name in TRAINER_DEFAULTS else SUPPRESS
        default = TRAINER_DEFAULTS.get(name)
        result.add_argument(f"--trainer.{name}", type=kind, default=default, help=described)
    return result


def _locales_help(command: str) -> str:
    if command == "fit":
        return "the locales to train on: en-US,fr-FR or all; with a target: its sources (default: by typology)"
    return "the locales to read, en-US,fr-FR or en-US fr-FR"
