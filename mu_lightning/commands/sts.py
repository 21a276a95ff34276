"""The command `sts`: evaluates sentence embeddings on semantic textual similarity."""

from pathlib import Path

from jsonargparse import Namespace

from mu_lightning.commands.arguments import add_device_argument
from mu_lightning.commands.names import POOLING, SPLIT
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.locales import locale_list
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import reserved


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "sts",
        "Evaluates sentence embeddings on STS-B and its translations: Spearman's rank correlation of "
        "cosine similarity with human judgments. Supports any model folder: a base, a member or a merged model.",
    )
    add = result.add_argument
    add("--model-path", type=str, action="append", default=None, help="model folder or hub id; repeatable")
    add("--model-paths", type=str, nargs="+", default=None, help="several model folders or hub ids")
    add("--locales", type=str, nargs="+", default=["en-US"], help="locales, en-US,de-DE or en-US de-DE; or all")
    add(
        "--pooling",
        type=POOLING,
        default=None,
        help=f"pooling: {POOLING.names} (default: mean)",
    )
    add("--poolings", type=POOLING, nargs="+", default=None, help="several poolings, in one forward pass")
    add(
        "--data-dir",
        type=Path | None,
        default=None,
        help="folder of an unpacked release (default: the Hugging Face hub)",
    )
    add("--hub-id", type=str, default="PhilipMay/stsb_multi_mt", help="dataset on the hub")
    add("--split", type=SPLIT, default="test", help=f"split: {SPLIT.names}")
    add("--batch-size", type=int, default=256, help="batch size")
    add(
        "--max-length",
        type=int | None,
        default=None,
        help="maximum number of tokens (default: 128, or as many as the model supports)",
    )
    add_device_argument(result)
    add(
        "--output-dir", type=Path | None, default=None, help="output folder for scores and similarities; must not exist"
    )
    return result


def run(argv: list[str]) -> int:
    """Evaluates the models and prints a table; returns the exit status.

    Raises:
        UserError: no model or an invalid one, unavailable pairs, or an existing output.
    """
    arguments = parser().parse_args(argv)
    models = list(dict.fromkeys([*(arguments.model_path or ()), *(arguments.model_paths or ())]))
    if not models:
        raise UserError("no model is given: set --model-path to a folder or hub id; repeatable")
    if arguments.pooling and arguments.poolings:
        raise UserError("--pooling and --poolings are mutually exclusive")
    with reserved(arguments.output_dir):
        _score(arguments, models)
    return 0


def _score(arguments: Namespace, models: list[str]) -> None:
    from mu_lightning.data.stsb import Stsb
    from mu_lightning.experiments.sts import fingerprints, score_models, show, write_similarities
    from mu_lightning.experiments.workers import devices

    device = devices(arguments.device)[0]
    corpus = Stsb(arguments.data_dir, arguments.hub_id)
    asked = locale_list(arguments.locales) or []
    locales = list(dict.fromkeys(corpus.locales if asked == ["all"] else asked))
    pairs = {locale: corpus.pairs(locale, arguments.split) for locale in locales}
    found = fingerprints(models, pairs)
    poolings = list(dict.fromkeys(arguments.poolings or [arguments.pooling or "mean"]))
    results = score_models(
        models,
        pairs,
        poolings,
        batch_size=arguments.batch_size,
        max_length=arguments.max_length,
        device=device,
    )
    print(show(results))
    if arguments.output_dir is not None:
        provenance = {
            "command": "sts",
            "split": arguments.split,
            "data_dir": None if arguments.data_dir is None else str(arguments.data_dir.resolve()),
            "hub_id": None if arguments.data_dir else arguments.hub_id,
            "max_length": arguments.max_length,
            "fingerprints": found,
        }
        write_similarities(arguments.output_dir, results, pairs, provenance)
        print(f"\nscores: {arguments.output_dir / 'sts.json'}")
