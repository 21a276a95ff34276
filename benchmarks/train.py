"""Training side by side: a classifier for each locale by ours, by transformers' Trainer and by plain Lightning.

`python benchmarks/train.py` trains the same locales on the same batches three ways, each run in a process of its own,
in alternating order, and compares throughput, peak memory and the loss of every step. What each way is and what its
clock counts stands at the top of `benchmarks/training_ways.py`.

`--size base` takes a random encoder of XLM-R-base's size (12 layers of 768, 250,002 pieces, of which the embedded
tokenizer makes 12,000); both bases have no dropout, so that losses can be compared. Unknown flags go to our `fit`:
`--model.execution loop`. `--grow` measures instead how cost grows with locales, length and vocabulary, beside Trainer.
`--merge` measures what merging the members in memory costs, in training steps (by default eight members of XLM-R-base's
size, in 16 GiB). `--write` puts the tables into docs/benchmarks.md, and the figure of growth beside it.
"""

import argparse
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from common import PAGE, goal, provenance, write_section
from training_growth import FIGURE, draw, grow, tables
from training_merges import GOALS, REPEATS, merge_costs
from training_task import LEARNING_RATES, Outcome, Task, random_base
from training_ways import WAYS, run

from mu_lightning.data.registry import open_corpus
from mu_lightning.locales import LOCALES as ALL_LOCALES
from mu_lightning.settings import EMBEDDED_BASE, CorpusSettings
from mu_lightning.utilities.tables import markdown_table

BASE = Path(__file__).parents[1] / EMBEDDED_BASE
LOCALES = (
    *("en-US", "de-DE", "sq-AL", "sw-KE", "tr-TR", "ta-IN", "ja-JP", "ar-SA"),
    *("fr-FR", "fi-FI", "hi-IN", "th-TH", "ko-KR", "zh-CN", "ru-RU", "vi-VN"),
)
# Size -> locales, batch, steps, and the goal: at least so many times each other's throughput.
DEFAULTS: dict[str, tuple[int, int, int, float]] = {"embedded": (8, 64, 120, 2.0), "base": (2, 16, 12, 1.4)}
# The same where there is a GPU, for the base size in bfloat16; and what ten locales may take of its memory, in GiB.
ON_GPU = (8, 32, 60, 5.0)
GPU_MEMORY = (10, 22.0)


def on_gpu(size: str) -> bool:
    """Whether a size is measured on a GPU."""
    return size == "base" and torch.cuda.is_available()


def defaults(size: str) -> tuple[int, int, int, float]:
    """Locales, batch, steps and goal of a size on this machine."""
    return ON_GPU if on_gpu(size) else DEFAULTS[size]


def make_task(size: str, base: Path, arguments: argparse.Namespace, flags: list[str]) -> Task:
    """The task of a size under the command's options."""
    locales, batch, steps, _ = defaults(size)
    batch, steps = arguments.batch_size or batch, arguments.steps or steps
    chosen = tuple(dict.fromkeys((*LOCALES, *ALL_LOCALES)))[: arguments.locales or locales]
    corpus = open_corpus(CorpusSettings(arguments.corpus, arguments.data_dir))
    epoch_steps = min(steps, *(len(corpus.rows(tag, "train")) // batch for tag in chosen))
    if not epoch_steps:
        raise SystemExit(f"--batch-size {batch}: a locale of {arguments.corpus} has fewer train rows")
    return Task(
        base=str(base),
        locales=chosen,
        batch_size=batch,
        epoch_steps=epoch_steps,
        epochs=round(steps / epoch_steps),
        warm=max(2, min(10, steps // 4)),
        learning_rate=LEARNING_RATES[size],
        precision=arguments.precision or ("bf16-mixed" if on_gpu(size) else "32-true"),
        corpus=arguments.corpus,
        data_dir=None if arguments.data_dir is None else str(arguments.data_dir),
        flags=tuple(flags),
    )


def compare(task: Task, pairs: int, goal_ratio: float, name: str) -> str:
    """Runs the three ways in alternating order; returns their table."""
    count = len(task.locales) * task.batch_size * (task.steps - task.warm)
    found: dict[str, list[Outcome]] = {way: [] for way in WAYS}
    for number in range(pairs):
        for way in list(WAYS)[:: 1 if number % 2 == 0 else -1]:
            outcome = run(way, task)
            found[way].append(outcome)
            print(
                f"pair {number + 1} of {pairs}, {way}: {outcome.seconds:.1f} s, {count / outcome.seconds:,.0f} "
                f"utterances/s, {outcome.memory:.1f} GiB",
                flush=True,
            )
    lines = []
    for way, outcomes in found.items():
        ratios = [other.seconds / mine.seconds for other, mine in zip(outcomes, found["ours"], strict=True)]
        memory = f"{statistics.median(one.memory for one in outcomes):.2f} GiB"
        if outcomes[0].device_memory:
            memory += f", GPU {statistics.median(one.device_memory for one in outcomes):.2f} GiB"
        ratio = loss = ""
        if way != "ours":
            ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            loss = f"{max(map(difference, outcomes, found['ours'])):.0e}"
            goal(f"{name}: utterances a second, ours / {way}", statistics.median(ratios), at_least=goal_ratio)
        speed = f"{statistics.median(count / one.seconds for one in outcomes):,.0f}"
        lines.append((way, speed, ratio, memory, loss))
    if memory := max(one.device_memory for one in found["ours"]):
        most, wanted = GPU_MEMORY
        if name.startswith("base") and len(task.locales) <= most:
            goal(f"{name}: GPU memory in GiB", memory, at_most=wanted)
    first = [sum(steps[0] for steps in one.losses.values()) / len(task.locales) for one in found["ours"]]
    last = [sum(steps[-1] for steps in one.losses.values()) / len(task.locales) for one in found["ours"]]
    flags = f" Further arguments of ours: `{' '.join(task.flags)}`." if task.flags else ""
    return (
        f"{len(task.locales)} locales, batches of {task.batch_size}, {task.steps} steps each of which the first "
        f"{task.warm} are not timed, {task.precision}, {threads()} threads; {pairs} pairs; the mean loss falls from "
        f"{first[0]:.2f} to {last[0]:.2f}. Goal: at least {goal_ratio:g} times each other's throughput.{flags}\n\n"
        + markdown_table(
            (
                "",
                "utterances a second",
                "ours is so many times faster",
                "peak memory",
                "largest difference of a step's loss from ours",
            ),
            lines,
        )
    )


def difference(one: Outcome, other: Outcome) -> float:
    """The largest difference of two runs' losses, over all locales and steps."""
    return max(
        abs(left - right)
        for tag, steps in one.losses.items()
        for left, right in zip(steps, other.losses[tag], strict=True)
    )


def growth(arguments: argparse.Namespace, flags: list[str]) -> None:
    """Measures and prints how cost grows."""
    count, arguments.locales = arguments.locales or DEFAULTS["embedded"][0], len(LOCALES)
    task = replace(make_task("embedded", BASE, arguments, flags), locales=LOCALES[:count])
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("MU_CACHE_DIR", f"{scratch}/cache")
        found = grow(task, LOCALES, arguments.pairs, Path(scratch))
    text = (
        f"{provenance('torch', 'lightning', 'transformers')} The embedded size: {len(task.locales)} locales where they "
        f"don't grow, batches of {task.batch_size}, {task.steps} steps each of which the first {task.warm} are not "
        f"timed, {task.precision}, {threads()} threads; medians of {arguments.pairs} runs, each a process of its own. "
        "Texts are as they are in the corpus, 7 tokens on average, but where they grow: there each goes on with those "
        "that follow. Larger vocabularies are drawn at random; the texts' pieces stay the same."
    )
    print(f"\n{text}\n\n{tables(found)}")
    if arguments.write:
        draw(found, PAGE.with_name(FIGURE))
        picture = f"![Throughput and memory over locales, length and vocabulary]({FIGURE})"
        write_section("training-growth", f"## How cost grows\n\n{text}\n\n{picture}\n\n{tables(found)}")


def merging(arguments: argparse.Namespace, flags: list[str]) -> None:
    """Measures and prints what a merge costs."""
    arguments.locales, arguments.steps = arguments.locales or 8, arguments.steps or 5
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("MU_CACHE_DIR", f"{scratch}/cache")
        task = make_task("base", random_base(Path(scratch) / "xlm-r-base-size", BASE), arguments, flags)
        step, costs = merge_costs(task)
    members = len(task.locales)
    for method, seconds in costs.items():
        lines.append((method, f"{seconds:.2f} s", f"{seconds / step:.2f}", f"{GOALS[method]:g}"))
        goal(f"a merge of {members} members by {method}, in training steps", seconds / step, at_most=GOALS[method])
    text = (
        f"{provenance('torch', 'lightning', 'transformers')} {members} members of XLM-R-base's size, {task.precision}, "
        f"{threads()} threads. A training step, batches of {task.batch_size}, takes {step:.2f} s (the median of "
        f"{task.steps - task.warm}). A merge (the median of {REPEATS}) makes the merged model, puts it in place of "
        "every member, averages both moments and keeps a copy; scoring is not in it.\n\n"
        + markdown_table(("merge", "takes", "in training steps", "goal: at most"), lines)
    )
    print(f"\n{text}")
    if arguments.write:
        write_section("training-merges", f"## What a merge in memory costs\n\n{text}")


def threads() -> str:
    """How many threads a process computes with."""
    return os.environ.get("OMP_NUM_THREADS") or str(len(os.sched_getaffinity(0)))


def main() -> None:
    """Runs the comparison and prints it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--size", nargs="+", choices=DEFAULTS, default=list(DEFAULTS), help="size of the models")
    add("--locales", type=int, default=None, help="how many locales (default: embedded 8, base 2, on a GPU 8)")
    add(
        "--batch-size",
        type=int,
        default=None,
        help="utterances of a locale in a step (default: 64; base 16, GPU 32)",
    )
    add("--steps", type=int, default=None, help="steps of each locale (default: embedded 120; base: 12, on a GPU 60)")
    add("--precision", default=None, help="of all three (default: 32-true; base on a GPU: bf16-mixed)")
    add("--corpus", default="cldr", help="whose train rows")
    add("--data-dir", type=Path, default=None, help="an unpacked MASSIVE release directory")
    add("--pairs", type=int, default=5, help="how often")
    add("--grow", action="store_true", help="measure how cost grows, at the embedded size")
    add("--merge", action="store_true", help="measure what a merge of the members in memory costs")
    add("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments, flags = parser.parse_known_args()
    parts = [
        provenance("torch", "lightning", "transformers", "accelerate", hidden=("--data-dir",))
        + f" The corpus {arguments.corpus}. What each way is and what is timed stands at the top of "
        "`benchmarks/training_ways.py`."
    ]
    if arguments.grow or arguments.merge:
        (growth if arguments.grow else merging)(arguments, flags)
        return
    names = {"embedded": f"The size of {BASE.name}", "base": "XLM-R-base's size"}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.setdefault("MU_CACHE_DIR", f"{scratch}/cache")
        for size in arguments.size:
            base = BASE if size == "embedded" else random_base(Path(scratch) / "xlm-r-base-size", BASE)
            task = make_task(size, base, arguments, flags)
            text = compare(task, arguments.pairs, defaults(size)[3], f"{size} size, {len(task.locales)} locales")
            parts.append(f"### {names[size]}\n\n{text.strip()}")
            print(f"\n{parts[-1]}", flush=True)
    if arguments.write:
        write_section("training", "## Training\n\n" + "\n\n".join(parts))


if __name__ == "__main__":
    main()
