"""Arguments of `fit`, `validate` and `test`."""

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
    Tune,
    TypologySettings,
)
from mu_lightning.typology.features import FEATURE_SETS
from mu_lightning.typology.weightings import WEIGHTINGS
from mu_lightning.utilities.adapters.parser_arguments import arguments

SUMMARIES = {
    "fit": "Trains classifiers for one or several locales, optionally with merges for a target during training.",
    "validate": "Evaluates a classifier on the dev split of any locales.",
    "test": "Evaluates a classifier on the test split of any locales, with intervals.",
}

# Keys whose values are names of a registry.
REGISTRIES: Mapping[str, Collection[str]] = {
    "--data.corpus": CORPORA,
    "--merge.method": METHODS,
    "--merge.schedule": SCHEDULES,
    "--typology.feature_set": FEATURE_SETS,
    "--typology.weighting": WEIGHTINGS,
}

# Arguments of the Trainer; those of type Any may be classes, which LightningCLI parses.
TRAINER_TYPES: Mapping[str, Any] = get_type_hints(TrainerArguments)
TRAINER_HELP = {
    "max_epochs": "number of epochs",
    "accelerator": "device type: auto, cpu or cuda",
    "devices": "number of devices, or their indices: 2, [0,3] or auto",
    "precision": "32-true, bf16-mixed or another precision of Lightning; auto: bf16-mixed if the hardware supports "
    "bfloat16, else 32-true",
    "gradient_clip_val": "maximum gradient norm of a member",
}

# Switches, with an optional value, so that false overrides a configuration file.
_SWITCH: dict[str, Any] = {"type": bool, "nargs": "?", "const": True, "default": False}


def add_arguments(parser: ArgumentParser, command: str) -> None:
    """Adds the keys and groups of a command; LightningCLI adds ``trainer``, ``--config`` and ``--seed_everything``."""
    parser.add_argument("--locales", nargs="+", type=str, default=None, help=_locales_help(command))
    parser.add_argument("--output-dir", type=Path | None, default=None, help="output folder; must not contain results")
    parser.add_class_arguments(DataSettings, "data")
    _list_names(parser)
    if command != "fit":
        parser.add_argument("--model-path", type=str, required=True, help="model folder or hub id")
        return
    parser.add_argument(
        "--target-lang", type=str | None, default=None, help="target locale of merges; without one there are no merges"
    )
    parser.add_argument(
        "--target-languages",
        nargs="+",
        type=str,
        default=None,
        help="several target locales, each with its own weights and merged model; the first one is primary",
    )
    parser.add_argument(
        "--num-languages", type=int, default=5, help="number of sources to select by typology if --locales is not given"
    )
    parser.add_argument(
        "--preweight",
        type=PREWEIGHT,
        default="uriel",
        help=f"weight source: {PREWEIGHT.names}",
    )
    parser.add_argument(
        "--weights",
        type=str | dict[str, float] | None,
        default=None,
        help="weights for --preweight manual: nl-NL=0.7,de-DE=0.3",
    )
    parser.add_argument(
        "--multilingual",
        **_SWITCH,
        help="train one joint model on all locales; with a target: on its sources, without merges",
    )
    parser.add_argument(
        "--exclude",
        nargs="+",
        type=str,
        default=None,
        help="locales to exclude from --locales, from a target's sources, or (without either) from all in the corpus; "
        "without a target, models are evaluated on them zero-shot",
    )
    parser.add_argument(
        "--all-leave-one-out",
        **_SWITCH,
        help="train one model for each locale on all other locales, and evaluate it zero-shot",
    )
    parser.add_argument(
        "--compare",
        **_SWITCH,
        help="also train baselines (sources without merges, a joint model, a model on target labels) and print a "
        "comparison",
    )
    parser.add_argument(
        "--tune",
        type=Tune | None,
        default=None,
        help="sources: with --compare, also a merge of the sources whose method, scale, weights and number of sources "
        "are chosen by leaving out each source",
    )
    parser.add_argument(
        "--models-dir", type=Path, default=DEFAULT_MODELS_DIR, help="output folder of source models, without a target"
    )
    parser.add_argument(
        "--skip-existing",
        **_SWITCH,
        help="skip locales that have a model in --models-dir",
    )
    parser.add_argument(
        "--dry-run",
        **_SWITCH,
        help="validate the run, print a description and the predicted peak memory, and write nothing",
    )
    parser.add_argument("--resume", **_SWITCH, help="resume from the last checkpoint in --output-dir")
    parser.add_argument("--ckpt-path", type=str | None, default=None, help="resume from this checkpoint")
    parser.add_argument(
        "--save-config",
        **_SWITCH,
        help="write the full configuration to config.yaml in the output folder",
    )
    parser.add_argument("--enable-tensorboard", **_SWITCH, help="also log to TensorBoard")
    parser.add_argument("--enable-wandb", **_SWITCH, help="also log to W&B (WANDB_MODE=offline: without an account)")
    parser.add_argument(
        "--callbacks",
        type=dict[str, str | None] | None,
        default=None,
        help="class paths of other callbacks, null to remove them: {progress: my_package.MyProgress, dashboard: null}",
    )
    parser.add_class_arguments(ModelSettings, "model")
    parser.add_class_arguments(TypologySettings, "typology")
    parser.add_class_arguments(MergeSettings, "merge")
    parser.add_class_arguments(CheckpointSettings, "checkpoint")
    parser.add_class_arguments(GuardSettings, "guard")
    _list_names(parser)


def _list_names(parser: ArgumentParser) -> None:
    """Adds the names of registries to help texts."""
    for action in arguments(parser):
        for name in set(action.option_strings) & REGISTRIES.keys():
            action.help = with_names(action.help or "", REGISTRIES[name])


def parser(command: str) -> OneLineErrors:
    """Builds the parser without LightningCLI, for help, documentation and early validation."""
    result = OneLineErrors(prog=f"{program_name()} {command}", description=SUMMARIES[command])
    result.frequent = FREQUENT[command]
    result.short = short_names(command)
    result.more_names = tuple(result.short)
    result.add_argument("-c", "--config", action="config", help="YAML file with any of these keys")
    result.add_argument("--seed_everything", type=int, default=0, help="random seed")
    add_arguments(result, command)
    for name, kind in TRAINER_TYPES.items():
        described = TRAINER_HELP.get(name, "see Lightning's Trainer") if name in TRAINER_DEFAULTS else SUPPRESS
        default = TRAINER_DEFAULTS.get(name)
        result.add_argument(f"--trainer.{name}", type=kind, default=default, help=described)
    return result


def _locales_help(command: str) -> str:
    if command == "fit":
        return "train locales: en-US,fr-FR or all; with a target: its sources (default: by typology)"
    return "locales to evaluate on, en-US,fr-FR or en-US fr-FR"
