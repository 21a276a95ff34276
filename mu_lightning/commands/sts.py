"""The command `sts`: how well an encoder's sentence embeddings know which sentences mean the same."""

from pathlib import Path

from jsonargparse import Namespace

from mu_lightning.commands.arguments import add_device_argument
from mu_lightning.commands.names import POOLING, SPLIT
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.locales import locale_list
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import reserved


def parser() -> OneLineErrors:
    """The command's arguments."""
    result = command_parser(
        "sts",
        "Scores sentence embeddings on STS-B and its translations: Spearman's rank correlation of their "
        "cosine similarity with people's judgements. Any model folder will do: a base, a member or a merged model.",
    )
    add = result.add_argument
    add("--model-path", type=str, action="append", default=None, help="a model folder or hub id; repeatable")
    add("--model-paths", type=str, nargs="+", default=None, help="several model folders or hub ids")
    add("--locales", type=str, nargs="+", default=["en-US"], help="the languages, en-US,de-DE or en-US de-DE; or all")
    add(
        "--pooling",
        type=POOLING,
        default=None,
        help=f"how a sentence's tokens become one vector: {POOLING.names} (default: mean)",
    )
    add("--poolings", type=POOLING, nargs="+", default=None, help="several of them, from one forward pass")
    add("--data-dir", type=Path | None, default=None, help="an unpacked release; without one: the Hugging Face hub")
    add("--hub-id", type=str, default="PhilipMay/stsb_multi_mt", help="the data set on the hub")
    add("--split", type=SPLIT, default="test", help=f"the pairs to score: {SPLIT.names}")
    add("--batch-size", type=int, default=256, help="sentences in one batch")
    add("--max-length", type=int, default=128, help="tokens after which a sentence is cut")
    add_device_argument(result)
    add("--output-dir", type=Path | None, default=None, help="write scores and similarities here; refused if it exists")
    return result


def run(argv: list[str]) -> int:
    """Scores the models and prints one table; returns the exit status.

    Raises:
        UserError: no model is named or one cannot be loaded, the pairs cannot be had, or the output exists.
    """
    arguments = parser().parse_args(argv)
    models = list(dict.fromkeys([*(arguments.model_path or ()), *(arguments.model_paths or ())]))
    if not models:
        raise UserError("no model is named: --model-path checkpoints/xlm-r-cldr, a folder or a hub id; again for more")
    if arguments.pooling and arguments.poolings:
        raise UserError("--pooling names one and --poolings several: give one of the two")
    for name in ("batch_size", "max_length"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(arguments, name)}")
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
            "verb": "sts",
            "split": arguments.split,
            "data_dir": None if arguments.data_dir is None else str(arguments.data_dir.resolve()),
            "hub_id": None if arguments.data_dir else arguments.hub_id,
            "max_length": arguments.max_length,
            "fingerprints": found,
        }
        write_similarities(arguments.output_dir, results, pairs, provenance)
        print(f"\nscores: {arguments.output_dir / 'sts.json'}")
