"""Evaluation side by side: an N-by-N matrix by ours, by transformers' Trainer.predict and by its pipeline.

`python benchmarks/evaluate.py` scores every member on every locale's test rows three ways, in alternating order, and
compares throughput and every prediction. Ours runs as the verb `nxn` does, one process of one thread for each core;
Trainer and pipeline run in one process with a thread for each core, at the batch size of 8, 32 and 128 that suits them
best here. All compute in float32. Not counted for anybody: imports, starting processes, making or loading models the
first time. Counted for everybody: tokenizing; ours and Trainer do it once a locale (the models share a tokenizer), the
pipeline in each of its calls. Then an ensemble: five members with all four votes against one member, on one thread.

`--size base` takes random models of XLM-R-base's encoder (12 layers of 768); `--write` puts the tables into
docs/benchmarks.md.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import goal, machine, write_section

from mu_lightning.approaches.evaluation_context import EvaluationContext, FileTensors
from mu_lightning.approaches.tasks import RowTask, attempt
from mu_lightning.checkpoints import load_base, load_classifier, load_tokenizer, save_model
from mu_lightning.data.batching import eval_loader
from mu_lightning.data.corpus import Rows
from mu_lightning.data.encoding import encode
from mu_lightning.data.registry import open_corpus
from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.ensemble import Panel
from mu_lightning.models.votes import VOTES
from mu_lightning.settings import EMBEDDED_BASE, CorpusSettings
from mu_lightning.utilities.tables import markdown_table

BASE = Path(__file__).parents[1] / EMBEDDED_BASE
LOCALES = ("en-US", "de-DE", "sq-AL", "sw-KE", "tr-TR", "ta-IN", "ja-JP", "ar-SA")
MAX_LENGTH = 64
BATCH_SIZES = (8, 32, 128)
# Size -> rows a locale (None: all), pairs and the goal: at least so many times the faster of the two others.
DEFAULTS: dict[str, tuple[int | None, int, float]] = {"embedded": (None, 5, 4.0), "base": (150, 3, 2.5)}
GOAL_ENSEMBLE = 5.2

Found = dict[tuple[int, str], np.ndarray]


def make_members(folder: Path, size: str, count: int, label_names: tuple[str, ...], source: Path) -> list[Path]:
    """Model folders with heads (and, of the size of XLM-R-base, encoders) drawn at random."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    tokenizer = load_tokenizer(source)
    paths = []
    for number in range(count):
        if size == "embedded":
            model: Any = load_base(source, label_names, number)
        else:
            config = XLMRobertaConfig(
                vocab_size=len(tokenizer),
                max_position_embeddings=514,
                type_vocab_size=1,
                layer_norm_eps=1e-5,
                num_labels=len(label_names),
                id2label=dict(enumerate(label_names)),
                label2id={name: index for index, name in enumerate(label_names)},
            )
            torch.manual_seed(number)
            model = XLMRobertaForSequenceClassification(config)
        with torch.no_grad():
            model.classifier.out_proj.weight.mul_(20)  # so that logits are as far apart as a trained model's
        paths.append(folder / f"member{number}")
        save_model(paths[-1], model, tokenizer, {})
    return paths


class Ours:
    """The rows of the matrix as `nxn` makes them, in worker processes that are there already."""

    def __init__(self, members: list[Path], rows: dict[str, Rows], workers: int) -> None:
        self.members, self.rows = members, rows
        self.tokenizer = load_tokenizer(members[0])
        self.config = load_classifier(members[0]).config.to_dict()
        self.pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start)
        self.workers = workers
        list(self.pool.map(_warm, [self.bench()] * workers))

    def bench(self) -> EvaluationContext:
        """Models by reference and freshly tokenized rows."""
        with tempfile.TemporaryDirectory() as cache:
            os.environ["MU_CACHE_DIR"] = cache
            encoded = {tag: encode(rows, self.tokenizer, MAX_LENGTH) for tag, rows in self.rows.items()}
        models = {str(number): FileTensors(path) for number, path in enumerate(self.members)}
        return EvaluationContext(models, self.config, encoded, batch_size=256)

    def __call__(self) -> Found:
        bench = self.bench()
        names = [str(number) for number in range(len(self.members))]
        found: Found = {}
        for number, scores in enumerate(self.pool.map(_row, [bench] * len(names), names)):
            found |= {(number, tag): scores[tag].predictions for tag in self.rows}
        return found


_skeleton: IntentClassifier | None = None


def _start() -> None:
    torch.set_num_threads(1)


def _warm(bench: EvaluationContext) -> None:
    global _skeleton
    _skeleton = bench.skeleton
    time.sleep(1)  # so that each worker gets one of these


def _row(bench: EvaluationContext, source: str) -> Any:
    bench.__dict__["skeleton"] = _skeleton  # a worker of nxn makes it once, as it makes its bench once
    outcome = attempt(RowTask(source, tuple(bench.rows)), bench)
    if outcome.error:
        raise RuntimeError(outcome.traceback)
    return outcome.value.scores


class TrainerPredict:
    """The same by Trainer.predict: a Trainer a member, rows tokenized once a locale, padded batch by batch."""

    def __init__(self, members: list[Path], rows: dict[str, Rows], batch_size: int, scratch: Path) -> None:
        from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

        self.rows, self.tokenizer = rows, load_tokenizer(members[0])
        settings = TrainingArguments(
            output_dir=str(scratch),
            per_device_eval_batch_size=batch_size,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
        )
        collator = DataCollatorWithPadding(self.tokenizer)
        self.trainers = [
            Trainer(load_classifier(path), settings, collator, processing_class=self.tokenizer) for path in members
        ]

    def __call__(self) -> Found:
        from datasets import Dataset

        parts = {}
        for tag, rows in self.rows.items():
            encoded = self.tokenizer(list(rows.texts), truncation=True, max_length=MAX_LENGTH)
            parts[tag] = Dataset.from_dict({**encoded, "labels": list(rows.labels)})
        return {
            (number, tag): trainer.predict(part).predictions.argmax(-1)
            for number, trainer in enumerate(self.trainers)
            for tag, part in parts.items()
        }


class Pipeline:
    """The same by pipeline("text-classification"), which tokenizes in every call."""

    def __init__(self, members: list[Path], rows: dict[str, Rows], batch_size: int, scratch: Path) -> None:
        from transformers import pipeline

        self.rows, tokenizer = rows, load_tokenizer(members[0])
        self.pipelines = [
            pipeline(
                "text-classification",
                model=load_classifier(path),
                tokenizer=tokenizer,
                device="cpu",
                batch_size=batch_size,
            )
            for path in members
        ]

    def __call__(self) -> Found:
        found = {}
        for number, classify in enumerate(self.pipelines):
            index = classify.model.config.label2id
            for tag, rows in self.rows.items():
                answers = classify(list(rows.texts), truncation=True, max_length=MAX_LENGTH)
                found[number, tag] = np.array([index[answer["label"]] for answer in answers])
        return found


OTHERS: dict[str, Callable[..., Callable[[], Found]]] = {"Trainer.predict": TrainerPredict, "pipeline": Pipeline}


def best_batch_size(kind: Any, members: list[Path], rows: dict[str, Rows], scratch: Path) -> int:
    """The fastest of `BATCH_SIZES` for one member on one locale, best of two tries each."""
    tag, part = next(iter(rows.items()))
    seconds = {}
    for size in BATCH_SIZES:
        run = kind(members[:1], {tag: part}, size, scratch)
        seconds[size] = min(timed(run)[0] for _ in range(2))
    return min(seconds, key=lambda size: seconds[size])


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and what it gives."""
    started = time.perf_counter()
    result = run()
    return time.perf_counter() - started, result


def matrix(size: str, members: list[Path], rows: dict[str, Rows], pairs: int, scratch: Path) -> str:
    """Runs the three ways in alternating order; returns their table."""
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    sizes = {name: best_batch_size(kind, members, rows, scratch) for name, kind in OTHERS.items()}
    ways: dict[str, Callable[[], Found]] = {"ours": Ours(members, rows, min(cores, len(members)))}
    ways |= {name: kind(members, rows, sizes[name], scratch) for name, kind in OTHERS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    differing = dict.fromkeys(OTHERS, 0)
    count = len(members) * sum(map(len, rows.values()))
    for number in range(pairs):
        found = {}
        for name in list(ways)[:: 1 if number % 2 == 0 else -1]:
            taken, found[name] = timed(ways[name])
            seconds[name].append(taken)
            print(f"pair {number + 1} of {pairs}, {name}: {taken:.1f} s, {count / taken:,.0f} rows/s", flush=True)
        for name in OTHERS:
            differing[name] += sum(int((found["ours"][cell] != found[name][cell]).sum()) for cell in found["ours"])
    ways["ours"].pool.shutdown()  # type: ignore[attr-defined]
    lines = []
    for name, taken in seconds.items():
        ratios = [other / mine for other, mine in zip(taken, seconds["ours"], strict=True)]
        speed = f"{statistics.median(count / one for one in taken):,.0f}"
        ratio = "" if name == "ours" else f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        label = name if name == "ours" else f"{name}, batches of {sizes[name]}"
        lines.append((label, speed, ratio, "" if name == "ours" else f"{differing[name]} of {pairs * count:,}"))
    wanted = DEFAULTS[size][2]
    faster = [min(others) for others in zip(*(seconds[name] for name in OTHERS), strict=True)]
    ratios = [other / mine for other, mine in zip(faster, seconds["ours"], strict=True)]
    goal(f"{size} size, rows scored a second, ours / the faster", statistics.median(ratios), at_least=wanted)
    return (
        f"{len(members)} members x {len(rows)} locales, {count:,} predictions, {pairs} pairs; goal: at least "
        f"{wanted:g} times the faster one's throughput.\n\n"
        + markdown_table(("", "rows a second", "ours is so many times faster", "predictions that differ"), lines)
    )


def ensemble(members: list[Path], rows: dict[str, Rows], pairs: int) -> str:
    """Times five members with four votes against one member; returns a sentence."""
    torch.set_num_threads(1)
    tokenizer = load_tokenizer(members[0])
    loaders = {tag: eval_loader(encode(part, tokenizer, MAX_LENGTH), 256) for tag, part in list(rows.items())[:2]}
    alone = [IntentClassifier(load_classifier(path)) for path in members[:5]]
    named = {str(number): member for number, member in enumerate(alone)}
    panel = Panel(named, {vote: (vote, dict.fromkeys(named, 1 / len(named))) for vote in VOTES})
    evaluate_named(panel, loaders)
    ratios = []
    for _ in range(pairs):
        one = statistics.mean(timed(lambda member=member: evaluate(member, loaders))[0] for member in alone)
        together = timed(lambda: evaluate_named(panel, loaders))[0]
        ratios.append(together / one)
    goal("five members' votes, in one member's time", statistics.median(ratios), at_most=GOAL_ENSEMBLE)
    return (
        f"{len(named)} members and all four votes cost {statistics.median(ratios):.2f} times one member's time "
        f"({min(ratios):.2f} to {max(ratios):.2f} in {pairs} pairs on one thread); goal: at most {GOAL_ENSEMBLE:g}.\n"
    )


def main() -> None:
    """Runs the comparison and prints it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--size", nargs="+", choices=DEFAULTS, default=list(DEFAULTS), help="size of the models")
    add("--members", type=int, default=8, help="how many models")
    add("--locales", nargs="+", default=list(LOCALES), help="the locales to score on")
    add("--corpus", default="cldr", help="whose test rows")
    add("--data-dir", type=Path, default=None, help="an unpacked MASSIVE release directory")
    add("--base", type=Path, default=BASE, help="whose tokenizer, and of the embedded size whose encoder")
    add("--rows", type=int, default=None, help="rows a locale (default: embedded all, base 150)")
    add("--pairs", type=int, default=None, help="how often (default: embedded 5, base 3)")
    add("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    import transformers

    transformers.logging.set_verbosity_error()
    corpus = open_corpus(CorpusSettings(arguments.corpus, arguments.data_dir))
    parts = [
        f"`python benchmarks/evaluate.py {' '.join(sys.argv[1:])}`".replace(" `", "`")
        + f" on {machine()}, with torch {torch.__version__} and transformers {transformers.__version__}; the corpus "
        f"{corpus.name}. What is counted stands at the top of `benchmarks/evaluate.py`."
    ]
    for size in arguments.size:
        limit, pairs, _ = DEFAULTS[size]
        limit, pairs = arguments.rows or limit, arguments.pairs or pairs
        rows = {}
        for tag in arguments.locales:
            whole = corpus.rows(tag, "test")
            # Spread over the split: its rows are in the order of their kind.
            step = max(1, len(whole) // limit) if limit else 1
            rows[tag] = whole.select(range(0, len(whole), step)[: limit or len(whole)])
        with tempfile.TemporaryDirectory() as scratch:
            os.environ["MU_CACHE_DIR"] = f"{scratch}/cache"
            members = make_members(Path(scratch), size, arguments.members, corpus.label_names, arguments.base)
            names = {"embedded": f"The size of {arguments.base.name}", "base": "XLM-R-base's size"}
            shown = f"### {names[size]}\n\n{matrix(size, members, rows, pairs, Path(scratch))}"
            os.environ["MU_CACHE_DIR"] = f"{scratch}/cache"
            shown += f"\n{ensemble(members, rows, 2 * pairs + 1)}"
        print(f"\n{shown}", flush=True)
        parts.append(shown)
    if arguments.write:
        write_section("evaluation", "## Evaluation\n\n" + "\n\n".join(part.strip() for part in parts))


if __name__ == "__main__":
    main()
