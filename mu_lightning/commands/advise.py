"""The command `advise`: which languages to train on for a target, before anything is trained."""

import json
from pathlib import Path

from mu_lightning.commands.arguments import add_corpus_arguments, corpus_from
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.locales import locale, locale_list
from mu_lightning.settings import DEFAULT_FEATURE_SET, EMBEDDED_BASE
from mu_lightning.typology.features import FEATURE_SETS
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import reserved, write_json


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "advise",
        "Ranks the labeled languages of a corpus as sources of a target by typology, script and subwords, before "
        "anything is trained. With --nxn, also predicts the accuracy of their models on the target.",
    )
    add = result.add_argument
    add("--target-lang", type=str | None, default=None, help="target language, such as yo")
    add("--num-languages", type=int, default=5, help="number of languages to choose")
    add("--locales", type=str, nargs="+", default=None, help="languages to choose from (default: all with labels)")
    add("--base", type=str, default=str(EMBEDDED_BASE), help="base whose tokenizer is used: a folder or hub id")
    add(
        "--nxn",
        type=Path | None,
        default=None,
        help="N-by-N matrix, to learn a model of transfer from: a folder of the command nxn, or its CSV file",
    )
    add(
        "--feature-set",
        type=str,
        default=DEFAULT_FEATURE_SET,
        help=f"feature set of the ranking without --nxn: {', '.join(FEATURE_SETS)}",
    )
    add_corpus_arguments(result)
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--output-file", type=Path | None, default=None, help="also write the JSON to this file; must not exist")
    return result


def run(argv: list[str]) -> int:
    """Prints the advice; returns the exit status.

    Raises:
        UserError: no target, an existing output; see `mu_lightning.advice.advising.advise`.
    """
    arguments = parser().parse_args(argv)
    if arguments.target_lang is None:
        raise UserError("no target is given: set --target-lang, such as yo")
    locale(arguments.target_lang)
    with reserved(arguments.output_file, "a file"):
        from mu_lightning.advice.advising import advise
        from mu_lightning.advice.tables import show
        from mu_lightning.checkpoints import load_tokenizer
        from mu_lightning.data.registry import open_corpus
        from mu_lightning.results.matrix import read_nxn

        advice = advise(
            arguments.target_lang,
            open_corpus(corpus_from(arguments)),
            load_tokenizer(arguments.base),
            None if arguments.nxn is None else read_nxn(arguments.nxn),
            arguments.num_languages,
            locale_list(arguments.locales),
            arguments.feature_set,
        )
        if arguments.output_file is not None:
            write_json(arguments.output_file, advice.plain())
    print(
        json.dumps(advice.plain(), ensure_ascii=False, indent=2) if arguments.json else show(advice, str(arguments.nxn))
    )
    return 0
