"""The command `predict`: classifies texts from the command line, a file, a pipe or a corpus."""

import io
import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jsonargparse import Namespace

from mu_lightning.commands.arguments import add_corpus_arguments, add_device_argument, corpus_from
from mu_lightning.commands.names import SPLIT, VOTE
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.data.record_writer import WRITTEN, RecordWriter
from mu_lightning.data.records import TABLES
from mu_lightning.data.tables import Columns
from mu_lightning.locales import locale_list
from mu_lightning.settings import DataSettings
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file, atomic_folder, refuse_existing
from mu_lightning.utilities.tables import counted, text_table

if TYPE_CHECKING:
    from mu_lightning.data.records import Record
    from mu_lightning.inference import Predictor

FORMATS = ("txt", "csv", "tsv", "jsonl")
PIPE = "-"


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "predict",
        "Classifies texts from --text, a file or a pipe (--input), or rows of a corpus (--locales), "
        "with one model or an ensemble.",
    )
    result.verbatim = ("--text",)
    add = result.add_argument
    add("--model-path", type=str | None, default=None, help="model folder or hub id")
    add("--models", type=str, nargs="+", default=None, help="several model folders or hub ids, for an ensemble")
    add("--vote", type=VOTE, default="soft", help=f"vote of the ensemble: {VOTE.names}")
    add("--text", type=str, nargs="+", default=None, help="texts to classify")
    add("--input", type=Path | None, default=None, help=f"input file, or - for standard input: {_formats()}")
    add(
        "--input-format",
        choices=FORMATS,
        default=None,
        help="format of --input (default: by suffix; txt, one text per line, for standard input)",
    )
    add("--output-file", type=Path | None, default=None, help="output file: .csv, .tsv or .jsonl")
    add("--output-dir", type=Path | None, default=None, help="output folder for --locales: predictions_LOCALE.csv")
    add("--top-k", type=int, default=1, help="number of labels per text, most probable first")
    add(
        "--abstain-below",
        type=float,
        default=0.0,
        help="leave the label empty where its probability is lower, 0 to 1",
    )
    add("--batch-size", type=int, default=DataSettings.eval_batch_size, help="batch size")
    add("--max-length", type=int | None, default=None, help="maximum number of tokens (default: as in training)")
    add_device_argument(result)
    add("--locales", type=str, nargs="+", default=None, help="classify rows of these locales of --corpus instead")
    add("--split", type=SPLIT, default="test", help=f"split of --locales: {SPLIT.names}")
    add_corpus_arguments(result)
    return result


def _formats() -> str:
    return "one text per line, or CSV, TSV, JSON lines or Parquet with a text column; other columns are kept"


def run(argv: list[str]) -> int:
    """Classifies and writes predictions; returns the exit status.

    Raises:
        UserError: missing or contradicting arguments; an invalid model, file or row; an existing output.
    """
    arguments = parser().parse_args(argv)
    given = [name for name in ("text", "input", "locales") if arguments[name] is not None]
    if len(given) != 1:
        what = " and ".join(f"--{name}" for name in given) or "nothing"
        raise UserError(f"{what} is given to classify: give one of --text, --input FILE (- for a pipe) or --locales")
    if (arguments.model_path is None) == (arguments.models is None):
        raise UserError("give one model with --model-path, or several that vote with --models")
    if arguments.output_file is not None:
        refuse_existing(arguments.output_file)
        if arguments.output_file.suffix.lower() not in WRITTEN:
            raise UserError(f"--output-file {arguments.output_file}: expected a name that ends in {', '.join(WRITTEN)}")
    if arguments.output_dir is not None:
        if arguments.locales is None or arguments.output_file is not None:
            raise UserError("--output-dir is for --locales, without --output-file: a file for each locale")
        refuse_existing(arguments.output_dir)
    records = _records(arguments)
    first = next(records, None)
    if first is None:
        raise UserError("there are no texts to classify")
    answers = _answers(itertools.chain([first], records), _predictor(arguments), arguments)
    if arguments.output_dir is not None:
        count = 0
        with atomic_folder(arguments.output_dir) as folder:
            for tag, own in itertools.groupby(answers, key=itemgetter("language")):
                with (folder / f"predictions_{tag}.csv").open("w", encoding="utf-8", newline="") as stream:
                    count += _write(own, stream, ".csv")
        print(f"{counted(count, 'prediction')}: {arguments.output_dir}")
    elif arguments.output_file is not None:
        with (
            atomic_file(arguments.output_file) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            count = _write(answers, stream, arguments.output_file.suffix.lower())
        print(f"{counted(count, 'prediction')}: {arguments.output_file}")
    elif arguments.text is not None:
        rows = list(answers)
        print(text_table(tuple(rows[0]), [tuple(map(str, row.values())) for row in rows]))
    else:
        _write(answers, sys.stdout, ".jsonl" if _input_kind(arguments) == ".jsonl" else ".csv")
    return 0


def _write(answers: Iterator[dict[str, Any]], stream: TextIO, kind: str) -> int:
    """Streams predictions to the output; returns their number."""
    writer, count = RecordWriter(stream, kind), 0
    for values in answers:
        writer.write(values)
        count += 1
    return count


def _predictor(arguments: Namespace) -> "Predictor":
    from mu_lightning.inference import load, load_ensemble

    how = {"max_length": arguments.max_length, "device": arguments.device}
    if arguments.models is None:
        return load(arguments.model_path, **how)
    return load_ensemble(arguments.models, arguments.vote, **how)


def _answers(
    records: Iterable[tuple[str, dict[str, Any]]], predictor: "Predictor", arguments: Namespace
) -> Iterator[dict[str, Any]]:
    """Adds columns with predictions to each record."""
    pending: deque[dict[str, Any]] = deque()

    def texts() -> Iterator[str]:
        for text, values in records:
            pending.append(values)
            yield text

    for prediction in predictor.stream(texts(), arguments.top_k, arguments.batch_size):
        found: dict[str, Any] = {}
        for place, (label, probability) in enumerate(zip(prediction.labels, prediction.probabilities, strict=True), 1):
            more = "" if place == 1 else f"_{place}"
            label = label if probability >= arguments.abstain_below else ""
            found |= {f"predicted{more}": label, f"probability{more}": round(probability, 4)}
        yield {**pending.popleft(), **found}


def _records(arguments: Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields texts with the values to keep."""
    if arguments.text is not None:
        return ((text, {"text": text}) for text in arguments.text)
    return _of_corpus(arguments) if arguments.locales is not None else _of_input(arguments)


def _of_input(arguments: Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = Columns.of(corpus_from(arguments))
    name = "standard input" if str(arguments.input) == PIPE else str(arguments.input)
    for record in _read(arguments):
        where = record.where(name)
        clash = next((column for column in record.values if column.startswith(("predicted", "probability"))), None)
        if clash is not None:
            raise UserError(f"{where}: the column '{clash}' would be overwritten: rename it")
        yield columns.text_of(record.values, columns.find(record.values), where), record.values


def _read(arguments: Namespace) -> "Iterator[Record]":
    from mu_lightning.data.records import read_records, text_records

    kind = _input_kind(arguments)
    if str(arguments.input) == PIPE:
        lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline="")
        try:
            yield from text_records(lines, kind, "standard input")
        except UnicodeDecodeError as error:
            raise UserError("standard input is not UTF-8") from error
        finally:
            lines.detach()
    else:
        yield from read_records(arguments.input, kind)


def _input_kind(arguments: Namespace) -> str:
    """Returns the format of the input, as a suffix."""
    if arguments.input_format is not None:
        return f".{arguments.input_format}"
    if arguments.input is None or str(arguments.input) == PIPE:
        return ".txt"
    kind: str = arguments.input.suffix.lower()
    if kind not in (*TABLES, ".txt"):
        raise UserError(f"--input {arguments.input}: unknown format: set --input-format {', '.join(FORMATS)}")
    return kind


def _of_corpus(arguments: Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    from mu_lightning.data.registry import open_corpus

    corpus = open_corpus(corpus_from(arguments))
    for tag in locale_list(arguments.locales) or ():
        rows = corpus.rows(tag, arguments.split)
        for name, text, label in zip(rows.ids, rows.texts, rows.labels, strict=True):
            gold = corpus.label_names[label] if label >= 0 else ""
            yield text, {"language": tag, "id": name, "text": text, "label": gold}
