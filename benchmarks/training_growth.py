"""How the cost of training grows with the locales, the length of the texts and the vocabulary: a table and a figure.

Part of `benchmarks/train.py --grow`. Everything is of the embedded base's size but what grows.
"""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from training_task import Outcome, Task
from training_ways import run

from mu_lightning.utilities.files import atomic_file
from mu_lightning.utilities.tables import markdown_table

FIGURE = "training-growth.png"
GROWING: Mapping[str, tuple[int, ...]] = {
    "locales": (1, 2, 4, 8, 16),
    "tokens of an utterance": (8, 16, 32, 64, 128),
    "pieces in the base's vocabulary": (12_000, 30_000, 60_000, 120_000, 250_002),
}
WAYS = {"ours": "#0072b2", "Trainer": "#7d8590"}
Points = dict[str, dict[int, tuple[float, float]]]


def grow(task: Task, locales: tuple[str, ...], pairs: int, scratch: Path) -> dict[str, Points]:
    """What grows -> way -> its size -> utterances a second and peak memory in GiB, medians over the pairs.

    Args:
        task: what is trained, but for what grows.
        locales: to take from, at least as many as the most.
        pairs: how often.
        scratch: a folder for the bases.
    """
    makes: dict[str, Callable[[int], Task]] = {
        "locales": lambda size: replace(task, locales=locales[:size]),
        "tokens of an utterance": lambda size: replace(task, length=size, max_length=max(size, task.max_length)),
        "pieces in the base's vocabulary": lambda size: replace(task, base=str(_base(task, size, scratch))),
    }
    found: dict[str, Points] = {what: {way: {} for way in WAYS} for what in GROWING}
    for what, sizes in GROWING.items():
        for size in sizes:
            grown = makes[what](size)
            outcomes: dict[str, list[Outcome]] = {way: [] for way in WAYS}
            for number in range(pairs):
                for way in list(WAYS)[:: 1 if number % 2 == 0 else -1]:
                    outcomes[way].append(run(way, grown))
            count = len(grown.locales) * grown.batch_size * (grown.steps - grown.warm)
            for way, every in outcomes.items():
                speed = statistics.median(count / one.seconds for one in every)
                memory = statistics.median(one.device_memory or one.memory for one in every)
                found[what][way][size] = speed, memory
                print(f"{size} {what}, {way}: {speed:,.0f} utterances/s, {memory:.2f} GiB", flush=True)
    return found


def _base(task: Task, size: int, scratch: Path) -> Path:
    """A base of the embedded one's architecture with more pieces, drawn at random; its tokenizer makes no more."""
    import torch
    from transformers import AutoConfig, AutoModel

    from mu_lightning.checkpoints import load_tokenizer, save_model

    folder = scratch / f"pieces-{size}"
    if not folder.exists():
        config = AutoConfig.from_pretrained(task.base, vocab_size=size)
        torch.manual_seed(0)
        save_model(folder, AutoModel.from_config(config, add_pooling_layer=False), load_tokenizer(task.base), {})
    return folder


def tables(found: Mapping[str, Points]) -> str:
    """The numbers as Markdown, a table for each thing that grows."""
    head = [f"{way}, {unit}" for way in WAYS for unit in ("utterances a second", "GiB")]
    parts = []
    for what, points in found.items():
        rows = []
        for size in next(iter(points.values())):
            values = [points[way][size] for way in WAYS]
            rows.append(
                (f"{size:,}", *(text for speed, memory in values for text in (f"{speed:,.0f}", f"{memory:.2f}")))
            )
        parts.append(markdown_table((what, *head), rows))
    return "\n".join(parts)


def draw(found: Mapping[str, Points], path: Path) -> None:
    """Draws speed above and memory below, a column for each thing that grows."""
    from matplotlib import rc_context

    from mu_lightning.reporting.figures import STYLE, new_figure

    with rc_context(STYLE | {"figure.facecolor": "white", "savefig.facecolor": "white", "lines.markersize": 4}):
        figure = new_figure(9.6, 4.8)
        axes: Any = figure.subplots(2, len(found), sharex="col", sharey="row", squeeze=False)
        for column, (what, points) in enumerate(found.items()):
            for row, name in enumerate(("utterances a second", "peak memory, GiB")):
                panel = axes[row, column]
                for way, color in WAYS.items():
                    label = way if way == "ours" else f"{way}, one locale after another"
                    values = [point[row] for point in points[way].values()]
                    panel.plot(list(points[way]), values, "-o", color=color, label=label)
                panel.set_xscale("log", base=2)
                panel.set_xticks(list(points["ours"]), [f"{size:,}" for size in points["ours"]])
                panel.minorticks_off()
                panel.grid(axis="y")
                if not column:
                    panel.set_ylabel(name)
            axes[1, column].set_xlabel(what)
        for row in range(2):  # the panels of a row share their axis
            most = max(point[row] for points in found.values() for way in points.values() for point in way.values())
            axes[row, 0].set_ylim(0, 1.08 * most)
        axes[0, 0].legend(loc="lower center", fontsize=8)
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format="png", dpi=130)
