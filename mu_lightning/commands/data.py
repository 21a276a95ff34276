"""The command `data`: describes a corpus."""

import json

from mu_lightning.commands.arguments import add_corpus_arguments, corpus_from
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.locales import locale_list
from mu_lightning.settings import DataSettings
from mu_lightning.utilities.errors import UserError


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "data",
        "Describes a corpus: rows, labels and their balance, lengths, texts in several splits, and "
        "with --base tokenizer statistics for each language.",
    )
    add = result.add_argument
    add_corpus_arguments(result)
    add("--locales", type=str, nargs="+", default=None, help="languages to describe (default: all)")
    add(
        "--base",
        type=str | None,
        default=None,
        help="also report tokenizer statistics of this base: a folder or hub id",
    )
    add("--max-length", type=int, default=DataSettings.max_length, help="maximum number of tokens")
    add("--json", action="store_true", help="print JSON instead of tables")
    return result


def run(argv: list[str]) -> int:
    """Prints the description; returns the exit status.

    Raises:
        UserError: an unreadable corpus, or an unknown language.
    """
    arguments = parser().parse_args(argv)
    from mu_lightning.checkpoints import load_tokenizer
    from mu_lightning.data.description import describe_language, remarks, show
    from mu_lightning.data.registry import open_corpus
    from mu_lightning.languages import not_among

    corpus = open_corpus(corpus_from(arguments))
    languages = locale_list(arguments.locales) or list(corpus.locales)
    for tag in languages:
        if tag not in corpus.locales:
            raise not_among(f"the corpus {corpus.name}", tag, corpus.locales)
    if len(set(languages)) < len(languages):
        raise UserError(f"a language is named twice in {', '.join(languages)}")
    tokenizer = None if arguments.base is None else load_tokenizer(arguments.base)
    found = [describe_language(corpus, tag, tokenizer, arguments.max_length) for tag in languages]
    if arguments.json:
        described = {
            "corpus": corpus.name,
            "labels": list(corpus.label_names) if any(one.labeled for one in found) else [],
            "notes": list(corpus.notes),
            "remarks": remarks(found),
            "languages": [one.plain() for one in found],
        }
        print(json.dumps(described, ensure_ascii=False, indent=2))
        return 0
    print(show(found))
    for line in (*corpus.notes, *remarks(found)):
        print(line)
    return 0
