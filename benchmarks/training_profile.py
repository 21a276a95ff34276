"""Where the time of one training epoch with a merge goes, and that of one N-by-N, now and at an earlier revision.

`python benchmarks/training_profile.py --before REVISION` profiles the quickstart's third epoch (five members, scores,
merge and checkpoint included) and three models on three locales' test rows, both at the embedded size, by torch's
profiler. Each operation's time goes to the innermost part that it belongs to; a backward operation's to the part whose
forward operation it belongs to. What is in no operation is Python's and Lightning's. All is computed on one thread: of
work on several, it would not be plain what waits for what. Shares are those of the profiled epoch, seconds those shares
of the epoch before, which ran without the profiler.

`--write` puts the tables into docs/benchmarks.md.
"""

import argparse
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import ROOT, provenance, write_section

# Function -> the part that its time belongs to. Those that a revision lacks are passed over.
XLM_R = "transformers.models.xlm_roberta.modeling_xlm_roberta:XLMRoberta"
PARTS = {
    f"{XLM_R}Embeddings.forward": "embedding",
    f"{XLM_R}Attention.forward": "attention",
    f"{XLM_R}Intermediate.forward": "feed-forward",
    f"{XLM_R}Output.forward": "feed-forward",
    f"{XLM_R}ClassificationHead.forward": "head and loss",
    "mu_lightning.models.joint:JointClassifier._loss": "head and loss",
    "mu_lightning.models.losses:MemberLoss.__call__": "head and loss",
    "mu_lightning.models.cpu.packed:PackedClassifier.__init__": "packing weights",
    "mu_lightning.models.cpu.packed:PackedClassifier.__call__": "embedding",
    "mu_lightning.models.cpu.packed:_Layer.__call__": "attention",
    "mu_lightning.models.cpu.packed:_LastLayer.__call__": "attention",
    "torch:Tensor.backward": "backward, what has no forward part",
    "torch.optim.adam:adam": "optimizer",
    "torch.optim.lr_scheduler:LambdaLR.step": "optimizer",
    "mu_lightning.models.joint:JointClassifier.configure_gradient_clipping": "clipping",
    "mu_lightning.callbacks.guard:Guard.on_before_optimizer_step": "looking for what is not finite",
    "mu_lightning.data.encoding:EncodedRows.batch": "data",
    "mu_lightning.data.encoding:encode": "data",
    "mu_lightning.approaches.evaluation_context:EvaluationContext.state": "reading models",
    "mu_lightning.approaches.evaluation_context:EvaluationContext.classifier": "reading models",
    "mu_lightning.evaluation.loop:Collector.add": "scores",
    "mu_lightning.evaluation.loop:Collector.scores": "scores",
    "lightning.pytorch:LightningModule.log": "logging",
    "lightning.pytorch:LightningModule.log_dict": "logging",
    "mu_lightning.callbacks.throughput:Throughput.on_train_batch_end": "logging",
    "mu_lightning.callbacks.progress:Progress.on_train_batch_end": "logging",
}
# What takes over all that lies within it.
WHOLES = {
    "lightning.pytorch.loops.evaluation_loop:_EvaluationLoop.run": "evaluation",
    "mu_lightning.evaluation.loop:evaluate_named": "evaluation",
    "mu_lightning.callbacks.merge:MergeCallback._merge": "merge",
    "mu_lightning.callbacks.checkpoint:RunCheckpoint._save": "checkpoint",
    "mu_lightning.callbacks.dashboard:Dashboard.on_train_epoch_end": "page and picture of merges",
    "mu_lightning.callbacks.history:History.on_train_epoch_end": "page and picture of merges",
    "mu_lightning.callbacks.kept_merges:KeptMerges.on_train_epoch_end": "writing merged models",
}
REST = "Lightning and Python"


def label(places: Mapping[str, str]) -> None:
    """Marks the functions for the profiler, wherever they were imported to."""
    for place, part in places.items():
        module_name, _, path = place.partition(":")
        *owners, name = path.split(".")
        try:
            module: Any = importlib.import_module(module_name)
            owner = functools.reduce(getattr, owners, module)
            function = vars(owner)[name]
        except (ImportError, AttributeError, KeyError):
            continue
        marked = _marked(function, part)
        setattr(owner, name, marked)
        if not owners:
            for other in list(sys.modules.values()):
                for key, value in list(vars(other).items()) if hasattr(other, "__dict__") else ():
                    if value is function:
                        setattr(other, key, marked)


def _marked(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    from torch.profiler import record_function

    @functools.wraps(function)
    def marked(*given: Any, **more: Any) -> Any:
        with record_function(f"part: {part}"):
            return function(*given, **more)

    return marked


def _label_packed() -> None:
    """The packed forward pass has its feed-forward products as attributes of each layer."""
    from mu_lightning.models.cpu import packed

    made = packed._Layer.__init__

    def init(self: Any, *given: Any) -> None:
        made(self, *given)
        self._up, self._down = _marked(self._up, "feed-forward"), _marked(self._down, "feed-forward")

    packed._Layer.__init__ = init  # type: ignore[method-assign]


def _label_compact() -> None:
    """The compact classifier's steps give a result and what computes its gradients: both belong to one part."""
    try:
        from mu_lightning.models.cpu import compact
    except ImportError:  # a revision before it
        return
    module: Any = compact
    found: dict[int, str] = {}
    parts_of = module._parts

    def parts(layer: Any) -> Any:
        parts = parts_of(layer)
        for number, part in enumerate(parts):
            found[id(part)] = "attention" if number < 5 else "feed-forward"
        return parts

    def both(function: Callable[..., Any], part_of: Callable[..., str]) -> Callable[..., Any]:
        @functools.wraps(function)
        def pair(*given: Any, **more: Any) -> Any:
            part = part_of(*given)
            result, back = _marked(function, part)(*given, **more)
            return result, _marked(back, part)

        return pair

    module._parts = parts
    for name in ("linear", "norm"):
        setattr(module, name, both(getattr(module, name), lambda rows, part, *rest: found.get(id(part), "embedding")))
    made = module.CompactClassifier.__init__

    def init(self: Any, model: Any) -> None:
        made(self, model)
        found.update((id(part), "head and loss") for part in self.head)

    module.CompactClassifier.__init__ = init
    for step, its_part in (("embedded", "embedding"), ("layer", "feed-forward"), ("head", "head and loss")):
        setattr(module._Pass, step, both(getattr(module._Pass, step), lambda *given, part=its_part: part))
    module.Attention.__call__ = both(module.Attention.__call__, lambda *given: "attention")


@contextmanager
def profiled(found: dict[str, float], wholes: bool) -> Iterator[None]:
    """Seconds of each part while it lasts."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        started = time.perf_counter()
        yield
        seconds = time.perf_counter() - started
    found |= _parts(profiler.events(), seconds, set(WHOLES.values()) if wholes else set())


def _parts(events: Any, seconds: float, wholes: set[str]) -> dict[str, float]:
    """Part -> seconds of the main thread: the self time of each event, in the innermost part around it."""
    main = next(event.thread for event in events if event.name.startswith("part: "))
    own = sorted(
        (event for event in events if event.thread == main),
        key=lambda event: (event.time_range.start, -event.time_range.end),
    )
    total: Counter[str] = Counter()
    forward: dict[int, str] = {}
    stack: list[tuple[float, str]] = []  # end and part of each event around
    at_top = 0.0
    for event in own:
        start, end = event.time_range.start, event.time_range.end
        while stack and stack[-1][0] <= start:
            stack.pop()
        part = around = stack[-1][1] if stack else REST
        if around in wholes and event.name != "part: evaluation":
            part = around
        elif event.name.startswith("part: "):
            part = event.name.removeprefix("part: ")
        elif "evaluate_function" in event.name:
            part = forward.get(event.sequence_nr, around)
        elif event.sequence_nr >= 0 and not around.startswith("backward"):
            forward[event.sequence_nr] = part
        total[part] += end - start
        if stack:
            total[around] -= end - start
        else:
            at_top += end - start
        stack.append((end, part))
    found = {part: microseconds / 1e6 for part, microseconds in total.items()}
    found[REST] = found.get(REST, 0.0) + seconds - at_top / 1e6
    return found


def epoch(scratch: Path) -> tuple[float, dict[str, float]]:
    """Seconds of the quickstart's second epoch, and the parts of its third."""
    from lightning.pytorch import Callback

    from mu_lightning.commands.lightning_cli import FitCLI
    from mu_lightning.settings import RunSettings

    found: dict[str, float] = {}
    marks: list[float] = []
    watching = profiled(found, wholes=True)

    class Watch(Callback):
        def __deepcopy__(self, memo: Any) -> "Watch":
            return self

        def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
            marks.append(time.perf_counter())
            if trainer.current_epoch == 2:
                watching.__enter__()

        def on_train_end(self, trainer: Any, module: Any) -> None:
            watching.__exit__(None, None, None)

    class Fit(FitCLI):
        def settings(self) -> RunSettings:
            asked = super().settings()
            return replace(asked, trainer={**asked.trainer, "callbacks": [Watch()]})

    # Imported before they are marked, so that the marks are what is called.
    label(PARTS | WHOLES)
    _label_packed()
    _label_compact()
    words = [
        "--target-lang",
        "af-ZA",
        "--data.batch_size",
        "64",
        "--data.max_length",
        "32",
    ]  # as configs/quickstart.yaml
    words += ["--output-dir", str(scratch / "run"), "--trainer.max_epochs", "3"]
    Fit(["fit", *words, "--trainer.enable_progress_bar", "false"])
    return marks[2] - marks[1], found


def matrix(scratch: Path) -> tuple[float, dict[str, float]]:
    """Seconds of three models on three locales, and their parts; each is done once before."""
    from evaluate import BASE, LOCALES, make_members

    from mu_lightning.approaches.evaluation_context import Scoring, prepare
    from mu_lightning.approaches.tasks import RowTask, attempt
    from mu_lightning.data.registry import open_corpus
    from mu_lightning.settings import CorpusSettings

    members = make_members(scratch, "embedded", 3, open_corpus(CorpusSettings()).label_names, BASE)
    names = LOCALES[:3]

    def score() -> None:
        bench = prepare(Scoring(), dict(zip(names, members, strict=True)), names)
        for name in names:
            outcome = attempt(RowTask(name, names), bench)
            if outcome.error:
                raise SystemExit(outcome.traceback)

    label(PARTS)
    _label_packed()
    score()
    started = time.perf_counter()
    score()
    seconds = time.perf_counter() - started
    found: dict[str, float] = {}
    with profiled(found, wholes=False):
        score()
    return seconds, found


WORK: dict[str, Callable[[Path], tuple[float, dict[str, float]]]] = {"epoch": epoch, "matrix": matrix}
TITLES = {
    "epoch": "One epoch of the quickstart: five members, their scores, a merge",
    "matrix": "Three models on three locales (N by N), on one process",
}


def measure(what: str, tree: Path, scratch: Path) -> tuple[float, dict[str, float]]:
    """Profiles in a new process, with the code of `tree`."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    environment = {**os.environ, "PYTHONPATH": str(tree), "MU_CACHE_DIR": str(scratch / "cache")}
    environment["OMP_NUM_THREADS"] = "1"
    words = [sys.executable, __file__, "--work", what, str(folder)]
    subprocess.run(words, cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds, found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return seconds, found


def shown(before: tuple[float, dict[str, float]] | None, after: tuple[float, dict[str, float]]) -> str:
    """A table of parts, the largest of now first."""
    from mu_lightning.utilities.tables import markdown_table

    both = [one for one in (before, after) if one is not None]
    parts = sorted({part for _, found in both for part in found}, key=lambda part: -after[1].get(part, 0.0))
    rows = []
    for part in parts:
        cells = []
        for seconds, found in both:
            share = found.get(part, 0.0) / sum(found.values())
            cells += [f"{share * seconds:.2f}", f"{share:.1%}"]
        if any(not cell.startswith("0.0") for cell in cells):
            rows.append((part, *cells))
    rows.append(("all", *(text for seconds, _ in both for text in (f"{seconds:.2f}", ""))))
    names = ("before", "now") if before is not None else ("now",)
    return markdown_table(("", *(f"{name}, {unit}" for name in names for unit in ("seconds", "share"))), rows)


def main() -> None:
    """Profiles both revisions and prints tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--before", default=None, help="a git revision to set beside the code as it is")
    add("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    add("--work", nargs=2, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        what, folder = arguments.work[0], Path(arguments.work[1])
        (folder / "found.json").write_text(json.dumps(WORK[what](folder)), encoding="utf-8")
        return
    parts = []
    with tempfile.TemporaryDirectory() as name:
        scratch, tree = Path(name), Path(name) / "before"
        if arguments.before:
            tree.mkdir()
            archive = subprocess.run(["git", "archive", arguments.before], cwd=ROOT, check=True, capture_output=True)
            subprocess.run(["tar", "-x"], cwd=tree, check=True, input=archive.stdout)
        for what, title in TITLES.items():
            before = measure(what, tree, scratch) if arguments.before else None
            parts.append(f"### {title}\n\n{shown(before, measure(what, ROOT, scratch))}")
            print(f"\n{parts[-1]}", flush=True)
    if arguments.write:
        head = (
            f"## Where the time goes\n\n{provenance('torch', 'lightning', 'transformers')} What is counted how stands "
        )
        write_section("profile", "\n\n".join([f"{head}at the top of `benchmarks/training_profile.py`.", *parts]))


if __name__ == "__main__":
    main()
