"""Arguments of `merge`."""

from argparse import SUPPRESS
from pathlib import Path
from typing import Any

from mu_lightning.approaches.from_text.modes import DEFAULT_MODES
from mu_lightning.commands.arguments import add_corpus_arguments, add_device_argument, add_source_arguments
from mu_lightning.commands.names import CORPUS, METHOD, TEXTS
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.commands.tuning import add_tune_argument
from mu_lightning.merging.folders.folder_plan import OUTPUT_DTYPES
from mu_lightning.merging.recipes.modes import DEFAULT_METHOD

ENGINES = ("mu-lightning", "auto-merge-llm")
FISHER_EXAMPLES = 100


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "merge",
        "Merges source models for a target into one model folder in Hugging Face format.",
    )
    add_source_arguments(result, num_languages=None)
    result.set_defaults(preweight=None)
    _add_method_arguments(result)
    _add_text_arguments(result)
    _add_output_arguments(result)
    add_device_argument(result, default="cpu")
    # Arguments of earlier versions, see older_names.py.
    result.add_argument("--mode", type=str | None, default=None, help=SUPPRESS)
    result.add_argument("--base-model", type=str | None, default=None, help=SUPPRESS)
    return result


def _add_method_arguments(parser: OneLineErrors) -> None:
    add = parser.section("method")
    add(
        "--merge-method",
        type=METHOD,
        default=None,
        help=f"merge method: {METHOD.names} (default: {DEFAULT_METHOD})",
    )
    add(
        "--parameters",
        type=str | dict[str, Any] | None,
        default=None,
        help="parameters of the method: density=0.2,scaling=1; for one source: density.sv-SE=0.2 (see --list-methods)",
    )
    add(
        "--overrides",
        type=str | dict[str, Any],
        nargs="+",
        default=None,
        help="parameters and weights for tensors by name pattern: 'classifier.*:density=1,weight.nl-NL=0.5'",
    )
    add(
        "--param-value-mask-rate",
        type=float | None,
        default=None,
        help="DARE with task_arithmetic and ties: drop rate of task vector elements",
    )
    add(
        "--recipe", type=Path | None, default=None, help="YAML recipe, in our format or mergekit's, instead of a target"
    )
    add_tune_argument(add)
    add("--engine", choices=ENGINES, default=ENGINES[0], help="merge backend")
    add("--list-methods", action="store_true", help="list all methods with parameters and papers")


def _add_text_arguments(parser: OneLineErrors) -> None:
    add = parser.section("text, for methods that need it")
    add(
        "--corpus",
        type=CORPUS,
        default=None,
        help=f"corpus of the text and of the models in --models-dir: {CORPUS.names} (default: from the "
        "training details of the sources)",
    )
    add_corpus_arguments(parser, leave_out=("corpus",))
    add(
        "--fisher-data-mode",
        type=TEXTS,
        default=None,
        help=f"unlabeled text: {TEXTS.names} (default: sources for {' and '.join(DEFAULT_MODES)}, else target)",
    )
    add(
        "--num-fisher-examples",
        type=int | None,
        default=None,
        help=f"number of train utterances per locale (default: {FISHER_EXAMPLES})",
    )


def _add_output_arguments(parser: OneLineErrors) -> None:
    add = parser.section("output")
    add(
        "--output-dir",
        type=Path | None,
        default=None,
        help="output model folder (default: merged/METHOD_...)",
    )
    add(
        "--dtype", choices=OUTPUT_DTYPES, default=None, help="dtype of the merged model (default: dtype of the sources)"
    )
    add("--max-shard-size", type=str, default="5GB", help="maximum size of a weight file, such as 200MB")
    add("--push-to-hub", type=str | None, default=None, help="hub id for uploading the model: ORGANIZATION/NAME")
    add("--dry-run", action="store_true", help="validate headers and configs, print the plan, write nothing")
