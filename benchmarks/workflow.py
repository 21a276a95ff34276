"""A whole study beside the script that one would write for it with transformers' Trainer, mergekit and pipeline.

Five sources are trained, scored on each other's test rows (5 x 5) and on a target's; there two merge methods by three
kinds of weights, and four votes. Ours is one `sweep` and one `nxn`; the script is `benchmarks/workflow_rival.py`. Both
read the same tables, start from the same model with its head, train on the same batches in the same order, and are
measured as whole processes with all that they start: time, and peak private memory. Nobody validates while training.

`--size base` takes a random encoder of XLM-R-base's size with few rows; `--write` puts the tables into
docs/benchmarks.md. It needs mergekit: the extra `benchmark`, or `--mergekit` for that of another environment.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from common import ROOT, goal, measured, provenance, table, write_section
from merge import find_mergekit
from training_task import CLIP, LEARNING_RATES, WEIGHT_DECAY, random_base

from mu_lightning.checkpoints import load_base, load_tokenizer, save_model
from mu_lightning.data.cldr import CldrCorpus
from mu_lightning.data.corpus import Split
from mu_lightning.data.module import IntentDataModule
from mu_lightning.data.registry import open_corpus
from mu_lightning.models.votes import VOTES
from mu_lightning.results.matrix import read_nxn
from mu_lightning.results.store import read_store
from mu_lightning.settings import EMBEDDED_BASE, CorpusSettings, DataSettings

TARGET, SOURCES = "af-ZA", ("nl-NL", "de-DE", "en-US", "sv-SE", "da-DK")
METHODS: dict[str, dict[str, float]] = {"linear": {}, "ties": {"density": 0.2}}
PREWEIGHTS = ("equal", "uriel", "shuffled")
MAX_LENGTH, SEED, DEV_ROWS = 32, 0, 20
BASE = ROOT / EMBEDDED_BASE
NAMES = {"embedded": f"The size of {BASE.name}", "base": "XLM-R-base's size"}


@dataclass(frozen=True)
class Size:
    """How large a study is: rows of a locale, epochs, and the batches in training and in scoring."""

    train_rows: int
    test_rows: int
    epochs: int
    batch_size: int
    eval_batch_size: int
    learning_rate: float


SIZES = {
    "embedded": Size(1280, 600, 4, 64, 128, LEARNING_RATES["embedded"]),
    "base": Size(96, 40, 1, 16, 32, LEARNING_RATES["base"]),
}


def write_tables(folder: Path, size: Size) -> None:
    """Writes a table of the embedded corpus' rows for each locale, of the labels that the train rows have."""
    corpus = CldrCorpus()
    folder.mkdir(parents=True)
    locales = (*SOURCES, TARGET)
    labels = {label for tag in locales for label in corpus.rows(tag, "train").labels[: size.train_rows]}
    counts: dict[Split, int] = {"train": size.train_rows, "dev": DEV_ROWS, "test": size.test_rows}
    for tag in locales:
        with (folder / f"{tag}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "split", "label", "text"))
            for split, count in counts.items():
                rows = corpus.rows(tag, split)
                places = [place for place, label in enumerate(rows.labels) if label in labels][:count]
                for place in places:
                    label = corpus.label_names[rows.labels[place]]
                    writer.writerow((rows.ids[place], split, label, rows.texts[place]))


def prepare(folder: Path, base: Path, size: Size) -> dict[str, Any]:
    """Writes the tables and the model that all start from; returns the study for both sides."""
    write_tables(folder / "data", size)
    corpus, start = open_corpus(CorpusSettings("files", folder / "data")), folder / "start"
    tokenizer = load_tokenizer(base)
    save_model(start, load_base(base, corpus.label_names, SEED), tokenizer, {})
    settings = DataSettings("files", folder / "data", batch_size=size.batch_size, max_length=MAX_LENGTH)
    data = IntentDataModule(corpus, tokenizer, settings, {tag: (tag,) for tag in SOURCES}, seed=SEED)
    order: dict[str, list[int]] = {}
    for tag in SOURCES:
        sampler: Any = data.member_loader(tag).sampler
        order[tag] = []
        for epoch in range(size.epochs):
            sampler.set_epoch(epoch)
            order[tag] += [row for share in sampler for row in share.rows]
    return {
        "data": str(folder / "data"),
        "start": str(start),
        "target": TARGET,
        "sources": list(SOURCES),
        "methods": METHODS,
        "order": order,
        "batch_size": size.batch_size,
        "eval_batch_size": size.eval_batch_size,
        "learning_rate": size.learning_rate,
        "weight_decay": WEIGHT_DECAY,
        "clip": CLIP,
        "max_length": MAX_LENGTH,
        "seed": SEED,
    }


def grid(study: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Our sweep, as its configuration file says it."""
    merges = [
        {"approach": "one_shot", "method": name, "parameters": parameters, "preweight": list(PREWEIGHTS)}
        for name, parameters in METHODS.items()
    ]
    return {
        "target_languages": [study["target"]],
        "sources": study["sources"],
        "num_languages": len(study["sources"]),
        "seeds": [study["seed"]],
        "corpus": "files",
        "data_dir": study["data"],
        "base": study["start"],
        "train_batch_size": study["batch_size"],
        "max_length": study["max_length"],
        "model.learning_rate": study["learning_rate"],
        "model.weight_decay": study["weight_decay"],
        "model.warmup": 0.0,
        "trainer": {"max_epochs": epochs, "gradient_clip_val": study["clip"], "limit_val_batches": 0},
        "baselines": ["sources"],
        "approaches": [*merges, {"approach": "ensemble", "vote_method": list(VOTES)}],
    }


def commands(folder: Path, study: dict[str, Any], epochs: int) -> list[list[str]]:
    """Our two commands, after ``cli.py``; the second reads the models that the first trained."""
    path, sweep, data = folder / "grid.yaml", folder / "sweep", ["--corpus", "files", "--data-dir", study["data"]]
    path.write_text(yaml.safe_dump(grid(study, epochs)), encoding="utf-8")
    models = next((sweep / "models").glob("*"), sweep / "models")
    length, locales = ["--max-length", str(study["max_length"])], ["--locales", ",".join(study["sources"])]
    nxn = ["nxn", *data, *length, *locales, "--models-dir", str(models), "--output-dir", str(folder / "nxn")]
    return [["sweep", "--config", str(path), "--output-dir", str(sweep)], nxn]


def results(folder: Path) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The accuracy of each of our cells, by the names that the script gives them, and the weights of each kind."""
    found: dict[str, float] = {}
    weights: dict[str, dict[str, float]] = {}
    for cell in read_store(folder / "sweep").cells:
        if cell.kind == "single":
            found[f"{cell.sources[0]} on {cell.target}"] = cell.accuracy
        elif cell.kind == "ensemble":
            found[f"vote {cell.identity.get('vote_method')}"] = cell.accuracy
        else:
            found[f"{cell.method} {cell.preweight}"] = cell.accuracy
            weights[str(cell.preweight)] = dict(cell.weights)
    matrix = read_nxn(folder / "nxn")
    for source, row in zip(matrix.sources, matrix.accuracy, strict=True):
        found |= {f"{source} on {tag}": float(value) for tag, value in zip(matrix.locales, row, strict=True)}
    return found, weights


def compare(name: str, base: Path, folder: Path, mergekit: str) -> str:
    """Runs both sides once; returns their table."""
    size = SIZES[name]
    study = prepare(folder, base, size)
    os.environ["MU_CACHE_DIR"] = str(folder / "cache")  # an empty one: tokenizing counts
    runs = []
    for number in range(2):
        command = commands(folder, study, size.epochs)[number]
        runs.append(measured([sys.executable, "cli.py", *command]))
        print(f"{name} size, {command[0]}: {runs[-1][0]:.1f} s, {runs[-1][1]:.2f} GB", flush=True)
    found, study["weights"] = results(folder)
    study["mergekit"] = mergekit
    place, output = folder / "study.json", folder / "rival.json"
    place.write_text(json.dumps(study), encoding="utf-8")
    script = [sys.executable, str(Path(__file__).with_name("workflow_rival.py"))]
    theirs = measured([*script, str(place), str(output)])
    print(f"{name} size, the script: {theirs[0]:.1f} s, {theirs[1]:.2f} GB", flush=True)
    ours = sum(seconds for seconds, _ in runs), max(memory for _, memory in runs)
    other = json.loads(output.read_text(encoding="utf-8"))
    if set(other) != set(found):
        raise SystemExit(f"the two sides have different cells: {', '.join(sorted(set(other) ^ set(found)))}")
    apart = {cell: 100 * abs(found[cell] - other[cell]) for cell in found}
    worst = max(apart, key=lambda cell: apart[cell])
    goal(f"{name} size, the whole study, time: the script / ours", theirs[0] / ours[0], at_least=3)
    goal(f"{name} size, the whole study, private memory: ours / the script", ours[1] / theirs[1], at_most=0.5)
    goal(f"{name} size, the whole study, largest difference of accuracies in points", apart[worst], at_most=1)
    rows = [
        ["ours: sweep and nxn", f"{ours[0]:.1f} s", "", f"{ours[1]:.2f} GB", ""],
        [
            "Trainer, mergekit, pipeline",
            f"{theirs[0]:.1f} s",
            f"{theirs[0] / ours[0]:.2f}",
            f"{theirs[1]:.2f} GB",
            f"{theirs[1] / ours[1]:.2f}",
        ],
    ]
    same = sum(not difference for difference in apart.values())
    return (
        f"{size.train_rows} train rows of each source, {size.epochs} epochs, batches of {size.batch_size}, "
        f"{size.test_rows} test rows of each locale. Of {len(found)} accuracies {same} are equal; the largest "
        f"difference is {apart[worst]:.2f} points ({worst}: {found[worst]:.4f} and {other[worst]:.4f}).\n\n"
        + table(["", "time", "times ours", "peak private memory", "times ours"], rows)
    )


def main() -> int:
    """Runs the comparison and prints it as Markdown; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=SIZES, default=list(SIZES), help="size of the models")
    parser.add_argument("--mergekit", help="the program mergekit-yaml (default: this environment's)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    try:
        mergekit = find_mergekit(arguments.mergekit)
    except SystemExit:
        mergekit = None
    if mergekit is None:
        print('no mergekit: pip install -c constraints.txt -e ".[benchmark]", or --mergekit PROGRAM', file=sys.stderr)
        return 2
    elsewhere = {"mergekit": str(Path(mergekit).with_name("python"))}
    parts = [
        provenance("torch", "lightning", "transformers", hidden=("--mergekit",), elsewhere=elsewhere)
        + f" {len(SOURCES)} sources, {len(METHODS)} merge methods by {len(PREWEIGHTS)} kinds of weights, {len(VOTES)} "
        f"votes, a {len(SOURCES)} x {len(SOURCES)} matrix, one target. Whole processes, imports included, with all "
        "that they start; one run. What is the same for both stands at the top of `benchmarks/workflow.py`."
    ]
    for name in arguments.size:
        with tempfile.TemporaryDirectory() as scratch:
            base = BASE if name == "embedded" else random_base(Path(scratch) / "xlm-r-base-size", BASE)
            parts.append(f"### {NAMES[name]}\n\n{compare(name, base, Path(scratch) / name, mergekit)}")
        print(f"\n{parts[-1]}\n", flush=True)
    if arguments.write:
        write_section("workflow", "## A whole study\n\n" + "\n\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
