"""Merging while training beside merging once and joint training, over targets and seeds.

    python benchmarks/iterative.py                                  # the embedded corpus
    python benchmarks/iterative.py --name massive --corpus massive --data-dir PATH --base PATH --num-languages 5

It is one `sweep` whose cells are the strategies: what is finished is not run again, what was interrupted goes on.
Writes a section of docs/iterative.md.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from common import ROOT, provenance, table, write_section

from mu_lightning.approaches.base import Approach
from mu_lightning.approaches.reading import read_approach
from mu_lightning.evaluation.statistics.resampling import Bootstrap, Correctness
from mu_lightning.results.store import StoredCell, read_store
from mu_lightning.utilities.files import write_text

ONCE, JOINT, ADAPTIVE = "merged once", "joint training", "adaptive"
STRATEGIES: dict[str, dict[str, Any]] = {
    ONCE: {"approach": "one_shot", "method": "linear"},
    "merged every 6 epochs": {"approach": "iterative", "merge": {"schedule": "every-epochs:n=6"}},
    "merged every 3 epochs": {"approach": "iterative", "merge": {"schedule": "every-epochs:n=3"}},
    "merged every epoch": {"approach": "iterative", "merge": {"schedule": "every-epochs:n=1"}},
    ADAPTIVE: {"approach": "iterative", "merge": {"schedule": "adaptive", "frequency": 3}},
    JOINT: {"approach": "joint"},
}
Cells = dict[tuple[str, str], dict[int, StoredCell]]


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--name", default="cldr", help="of the section and of the folder of the sweep")
    add("--target-languages", nargs="+", default=["af-ZA"])
    add("--num-languages", type=int, default=6, help="sources a target")
    add("--max-epochs", type=int, default=12)
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--corpus", default="cldr")
    add("--data-dir")
    add("--base", default="checkpoints/xlm-r-cldr")
    add("--batch-size", type=int, default=64)
    add("--limit-train", type=int)
    add("--precision", default="32-true")
    add("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    add("--folder", type=Path, default=ROOT / "runs" / "iterative")
    add("--max-workers", type=int, help="processes of the sweep")
    return parser.parse_args()


def grid(options: argparse.Namespace) -> dict[str, Any]:
    """The sweep, as its configuration file says it."""
    return {
        "target_languages": options.target_languages,
        "seeds": options.seeds,
        "num_languages": options.num_languages,
        "corpus": options.corpus,
        "base": options.base,
        "train_batch_size": options.batch_size,
        "trainer": {"max_epochs": options.max_epochs, "precision": options.precision},
        "approaches": [STRATEGIES[name] for name in options.strategies],
        "output_dir": str(options.folder / options.name),
    } | {name: value for name in ("data_dir", "limit_train", "max_workers") if (value := getattr(options, name))}


def sweep(options: argparse.Namespace) -> None:
    """Runs what is missing; raises SystemExit where it fails."""
    path = options.folder / f"{options.name}.yaml"
    write_text(path, yaml.safe_dump(grid(options), sort_keys=False))
    status = subprocess.run([sys.executable, "cli.py", "sweep", "--config", str(path.absolute())], cwd=ROOT).returncode
    if status:
        raise SystemExit(f"the sweep ended with status {status}: start this again to go on")


def cells_of(options: argparse.Namespace) -> Cells:
    """(Strategy, target) -> seed -> the stored result.

    Raises:
        SystemExit: one is missing, or the folder holds several that differ in what is no part of a strategy.
    """
    found: Cells = {(name, tag): {} for name in options.strategies for tag in options.target_languages}
    wanted = {name: read_approach(STRATEGIES[name]) for name in options.strategies}
    for cell in read_store(options.folder / options.name).cells:
        for name, approach in wanted.items():
            if (name, cell.target) in found and cell.seed in options.seeds and _is(cell, approach):
                if cell.seed in found[name, cell.target]:
                    raise SystemExit(f"{options.folder / options.name} holds several '{name}': give another --name")
                found[name, cell.target][cell.seed] = cell
    missing = [f"{name} for {tag}" for (name, tag), cells in found.items() if set(cells) != set(options.seeds)]
    if missing:
        raise SystemExit(f"no result of {', '.join(missing)} in {options.folder / options.name}")
    return found


def _is(cell: StoredCell, approach: Approach) -> bool:
    """Whether a result is of an approach, whatever its training and sources."""
    plain = approach.plain()
    return all(cell.identity.get(key) == plain.get(key) for key in ("approach", "method", "merge"))


def _marks(cell: StoredCell) -> Correctness:
    ids, labels, predictions = cell.predictions()
    return Correctness(ids, (labels == predictions).astype(np.float64))


def section(options: argparse.Namespace, cells: Cells) -> str:
    """What the results say, as Markdown."""
    targets, strategies = options.target_languages, options.strategies
    bootstrap = Bootstrap({key: {seed: _marks(cell) for seed, cell in own.items()} for key, own in cells.items()})
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
        rows.append(row)
    head = ["", *targets, "mean (95 %)", f"points over {ONCE}", f"points over {JOINT}"]
    hidden = ("--data-dir", "--base", "--folder")
    text = (
        f"{provenance('torch', 'lightning', 'transformers', hidden=hidden)} Base {Path(options.base).name}, corpus "
        f"{options.corpus}, {options.num_languages} sources a target, {options.max_epochs} epochs, batch "
        f"{options.batch_size}, {options.precision}, {len(options.seeds)} seeds. Test accuracy; intervals and p-values "
        "from a bootstrap over utterances and seeds, differences paired.\n\n"
    )
    return f"{text}{table(head, rows)}\n\n{decisions(options, cells)}"


def decisions(options: argparse.Namespace, cells: Cells) -> str:
    """The adaptive schedule's log of one run; empty without that strategy."""
    target, seed = options.target_languages[0], options.seeds[0]
    if ADAPTIVE not in options.strategies:
        return ""
    rows = []
    for record in json.loads((cells[ADAPTIVE, target][seed].folder / "history.json").read_text())["merges"]:
        found = record["targets"][target]
        scores = f"{found['mean_before']:.3f}", f"{found['after']:.3f}"
        rows.append([str(record["index"]), str(record["epoch"]), record["reason"], *scores])
        rows[-1].append(str(record["schedule"].get("why", "")))
    head = ["merge", "epoch", "because", "members' mean", "merged", "what the schedule made of it"]
    return f"What the adaptive schedule decided for {target} (seed {seed}):\n\n{table(head, rows)}"


def main() -> None:
    """Runs what is missing and writes the section."""
    options = arguments()
    sweep(options)
    write_section(f"iterative {options.name}", section(options, cells_of(options)), ROOT / "docs" / "iterative.md")


if __name__ == "__main__":
    main()
