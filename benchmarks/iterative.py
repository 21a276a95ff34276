"""Merging while training beside merging once and joint training, over targets and seeds.

    python benchmarks/iterative.py                                  # the embedded corpus
    python benchmarks/iterative.py --name massive --corpus massive --data-dir PATH --base PATH --num-languages 5

Every run is a `fit` of its own, in its own folder: what is finished is not run again, what was interrupted goes on.
Writes a section of docs/iterative.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from common import ROOT, provenance, table, write_section

from mu_lightning.evaluation.statistics.resampling import Bootstrap, Correctness
from mu_lightning.utilities.files import write_text

ONCE, JOINT = "merged once", "joint training"
STRATEGIES = {
    ONCE: ["--merge-frequency", "0"],
    "merged every 6 epochs": ["--merge-frequency", "6"],
    "merged every 3 epochs": ["--merge-frequency", "3"],
    "merged every epoch": ["--merge-frequency", "1"],
    "adaptive": ["--adaptive-merge-frequency", "--merge-frequency", "3"],
    JOINT: ["--multilingual"],
}

Cell = tuple[str, str, int]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--name", default="cldr", help="of the section and of the folder of the runs")
    add("--target-languages", nargs="+", default=["af-ZA"])
    add("--num-languages", default="6", help="sources a target")
    add("--max-epochs", default="12")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--corpus", default="cldr")
    add("--data-dir")
    add("--base", default="checkpoints/xlm-r-cldr")
    add("--batch-size", default="64")
    add("--limit-train")
    add("--precision", default="32-true")
    add("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    add("--folder", type=Path, default=ROOT / "runs" / "iterative")
    add("--workers", type=int, default=os.cpu_count(), help="runs at a time, on one thread each")
    return parser.parse_args()


def run(cell: Cell, options: argparse.Namespace) -> float:
    """Makes a cell's run unless it is finished; the seconds that it took (0: it was finished)."""
    folder = place(cell, options)
    if (folder / "results.json").is_file():
        return 0.0
    target, strategy, seed = cell
    command = [sys.executable, str(ROOT / "cli.py"), "fit", "--target-lang", target, "--output-dir", str(folder)]
    for flag in ("num-languages", "max-epochs", "corpus", "data-dir", "base", "batch-size", "precision"):
        value = getattr(options, flag.replace("-", "_"))
        command += [f"--{flag}", str(value)] if value else []
    command += ["--data.limit_train", options.limit_train] if options.limit_train else []
    command += ["--seed", str(seed), *STRATEGIES[strategy], "--trainer.enable_progress_bar", "false"]
    command += ["--resume"] if any(folder.glob("checkpoints/*/*")) else []
    folder.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    print(f"{' / '.join(map(str, cell))}: {time.perf_counter() - started:.0f} s", flush=True)
    return time.perf_counter() - started


def place(cell: Cell, options: argparse.Namespace) -> Path:
    """The folder of a cell's run."""
    target, strategy, seed = cell
    return Path(options.folder / options.name / target / strategy.replace(" ", "-") / f"seed-{seed}")


def marks(cell: Cell, options: argparse.Namespace) -> Correctness:
    """Which of the target's test rows a run's model got right."""
    folder = place(cell, options)
    results = json.loads((folder / "results.json").read_text())["results"]
    (number,) = [place for place, result in enumerate(results) if result["locale"] == cell[0]]
    with np.load(folder / "predictions.npz") as arrays:
        ids, labels, predictions = (arrays[f"{name}_{number}"] for name in ("ids", "labels", "predictions"))
    return Correctness(ids, (labels == predictions).astype(np.float64))


def section(options: argparse.Namespace, seconds: Mapping[Cell, float]) -> str:
    """What the runs say, as Markdown."""
    targets, strategies = options.target_languages, options.strategies
    scored = {
        (strategy, target): {seed: marks((target, strategy, seed), options) for seed in options.seeds}
        for strategy in strategies
        for target in targets
    }
    bootstrap = Bootstrap(scored)
    rows = []
    for strategy in strategies:
        keys = [(strategy, target) for target in targets]
        low, high = bootstrap.interval(keys)
        mean = np.mean([bootstrap.accuracies[key] for key in keys])
        row = [strategy, *(f"{bootstrap.accuracies[key]:.3f}" for key in keys)]
        row += [f"**{mean:.3f}** ({low:.3f} to {high:.3f})"]
        for other in (ONCE, JOINT):
            if other == strategy or other not in strategies:
                row.append("")
                continue
            found = bootstrap.difference([(key, (other, key[1])) for key in keys])
            row.append(
                f"{100 * found.value:+.1f} ({100 * found.low:+.1f} to {100 * found.high:+.1f}), p {found.p_value:.3f}"
            )
        spent = [seconds[target, strategy, seed] for target in targets for seed in options.seeds]
        row.append(f"{np.median(spent):.0f} s" if all(spent) else "")
        rows.append(row)
    head = ["", *targets, "mean (95 %)", f"points over {ONCE}", f"points over {JOINT}", "a run"]
    hidden = ("--data-dir", "--base", "--folder")
    base = Path(options.base).name
    text = (
        f"{provenance('torch', 'lightning', 'transformers', hidden=hidden)} Base {base}, corpus {options.corpus}, "
        f"{options.num_languages} sources a target, {options.max_epochs} epochs, batch {options.batch_size}, "
        f"{options.precision}, {len(options.seeds)} seeds. Test accuracy; intervals and p-values from a bootstrap over "
        "utterances and seeds, differences paired.\n\n"
    )
    return text + table(head, rows) + "\n\n" + decisions(options)


def decisions(options: argparse.Namespace) -> str:
    """The adaptive schedule's log of one run."""
    folder = place((options.target_languages[0], "adaptive", options.seeds[0]), options)
    path = folder / "history.json"
    if "adaptive" not in options.strategies or not path.is_file():
        return ""
    rows = []
    for record in json.loads(path.read_text())["merges"]:
        found = record["targets"][options.target_languages[0]]
        row = [
            record["index"],
            record["epoch"],
            record["reason"],
            f"{found['mean_before']:.3f}",
            f"{found['after']:.3f}",
        ]
        rows.append([*map(str, row), str(record["schedule"].get("why", ""))])
    head = ["merge", "epoch", "because", "members' mean", "merged", "what the schedule made of it"]
    return (
        f"What the adaptive schedule decided for {options.target_languages[0]} (seed {options.seeds[0]}):\n\n"
        + table(head, rows)
    )


def main() -> None:
    """Runs what is missing and writes the section."""
    options = arguments()
    cells = [(t, s, seed) for seed in options.seeds for t in options.target_languages for s in options.strategies]
    record = options.folder / options.name / "seconds.json"
    seconds = {tuple(cell): spent for *cell, spent in json.loads(record.read_text())} if record.is_file() else {}
    with ThreadPoolExecutor(options.workers) as pool:
        for cell, spent in zip(cells, pool.map(lambda cell: run(cell, options), cells), strict=True):
            seconds[cell] = spent or seconds.get(cell, 0.0)
            write_text(record, json.dumps([[*cell, spent] for cell, spent in seconds.items()]))
    write_section(f"iterative {options.name}", section(options, seconds), ROOT / "docs" / "iterative.md")


if __name__ == "__main__":
    main()
