"""The arguments of `merge`."""

from argparse import SUPPRESS
from pathlib import Path
from typing import Any

from mu_lightning.approaches.from_text.modes import DEFAULT_MODES
from mu_lightning.commands.arguments import add_corpus_arguments, add_device_argument, add_source_arguments
from mu_lightning.commands.names import CORPUS, METHOD, TEXTS
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.merging.folders.folder_plan import OUTPUT_DTYPES
from mu_lightning.merging.recipes.modes import DEFAULT_METHOD

ENGINES = ("mu-lightning", "auto-merge-llm")
FISHER_EXAMPLES = 100


def parser() -> OneLineErrors:
    """The command's arguments."""
    result = command_parser(
        "merge",
        "Merges the source models of a target's neighbors into one model folder that transformers loads.",
    )
    add_source_arguments(result, num_languages=None)
    result.set_defaults(preweight=None)
    _add_method_arguments(result)
    _add_text_arguments(result)
    _add_output_arguments(result)
    add_device_argument(result, default="cpu")
    # Of the older scripts: see older_names.py.
    result.add_argument("--mode", type=str | None, default=None, help=SUPPRESS)
    result.add_argument("--base-model", type=str | None, default=None, help=SUPPRESS)
    return result


def _add_method_arguments(parser: OneLineErrors) -> None:
    add = parser.section("method")
    add(
        "--merge-method",
        type=METHOD,
        default=None,
        help=f"the merge method: {METHOD.names} (default: {DEFAULT_METHOD})",
    )
    add(
        "--parameters",
        type=str | dict[str, Any] | None,
        default=None,
        help="the method's parameters: density=0.2,scaling=1; for one source: density.sv-SE=0.2 (see --list-methods)",
    )
    add(
        "--overrides",
        type=str | dict[str, Any],
        nargs="+",
        default=None,
        help="other parameters and weights for tensors by name pattern: 'classifier.*:density=1,weight.nl-NL=0.5'",
    )
    add(
        "--param-value-mask-rate",
        type=float | None,
        default=None,
        help="DARE inside task_arithmetic and ties: the chance of a task vector's element to be dropped",
    )
    add("--recipe", type=Path | None, default=None, help="a YAML recipe, ours or mergekit's, instead of a target")
    add("--engine", choices=ENGINES, default=ENGINES[0], help="merge backend")
    add("--list-methods", action="store_true", help="print every method with its parameters and paper")


def _add_text_arguments(parser: OneLineErrors) -> None:
    add = parser.section("texts, for methods that learn from them")
    add(
        "--corpus",
        type=CORPUS,
        default=None,
        help=f"the corpus of the texts, and of the models in --models-dir: {CORPUS.names} (default: what the sources' "
        "training details name)",
    )
    add_corpus_arguments(parser, leave_out=("corpus",))
    add(
        "--fisher-data-mode",
        type=TEXTS,
        default=None,
        help=f"whose unlabeled texts: {TEXTS.names} (default: sources for {' and '.join(DEFAULT_MODES)}, else target)",
    )
    add(
        "--num-fisher-examples",
        type=int | None,
        default=None,
        help=f"train utterances of each locale (default: {FISHER_EXAMPLES})",
    )


def _add_output_arguments(parser: OneLineErrors) -> None:
    add = parser.section("output")
    add(
        "--output-dir",
        type=Path | None,
        default=None,
        help="the model folder (default: merged/METHOD_...)",
    )
    add("--dtype", choices=OUTPUT_DTYPES, default=None, help="the merged model's dtype (default: the sources')")
    add("--max-shard-size", type=str, default="5GB", help="bytes of weights in one file of the result, such as 200MB")
    add("--push-to-hub", type=str | None, default=None, help="hub id to upload the model to: ORGANIZATION/NAME")
    add("--dry-run", action="store_true", help="validate from headers and configs alone, print the plan, write nothing")
