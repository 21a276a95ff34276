"""Merging side by side: ours, mergekit and the floor, each a whole process; wall time and peak private memory.

`python benchmarks/merge.py` makes five XLM-R-base-size classifiers that were "fine-tuned" from one base, merges them by
each method with every program in turn, several times over (`--write` puts the medians into docs/benchmarks.md). The
floor reads every byte of the sources once, adds them and writes the result: a bare loop over memory-mapped files. Then
twenty sources beside five: the five folders under four names each, so that the disk decides nothing. `--size tiny`
tries all that in a few minutes, `--folder` keeps the models for another run.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import yaml
from common import goal, measured, provenance, table, write_section

SIZES = {
    "base": {"vocab_size": 250_002, "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072},
    "small": {"vocab_size": 50_000, "hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    "tiny": {"vocab_size": 1_000, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128},
}
# Method: its parameters in mergekit's words; the weights are added. SLERP takes two models, one of them as the base.
METHODS = {
    "linear": {},
    "task_arithmetic": {"lambda": 1.0},
    "ties": {"density": 0.2},
    "dare_ties": {"density": 0.5},
    "breadcrumbs": {"density": 0.9, "gamma": 0.01},
    "slerp": {"t": 0.5},
}
MANY = ("linear", "ties")
# Method -> at most so much of mergekit's time.
GOALS = {"linear": 0.25, "ties": 0.1, "dare_ties": 0.1, "breadcrumbs": 0.1}
Measure = tuple[float, float]


def make_models(folder: Path, size: str, count: int, changed_rows: float) -> list[Path]:
    """A base and `count` models that differ from it everywhere but in most rows of the embeddings."""
    paths = [folder / name for name in ("base", *(f"source{index}" for index in range(1, count + 1)))]
    if all((path / "model.safetensors").is_file() for path in paths):
        return paths
    import torch  # not in the floor's time
    from safetensors.torch import save_file
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    config = XLMRobertaConfig(**SIZES[size], num_attention_heads=SIZES[size]["hidden_size"] // 32, num_labels=60)
    torch.manual_seed(0)
    model = XLMRobertaForSequenceClassification(config)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for index, path in enumerate(paths):
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(config.to_dict() | {"architectures": [type(model).__name__]}))
        state = dict(base)
        for name, tensor in base.items() if index else ():
            change = 1e-3 * torch.randn(tensor.shape)
            if "word_embeddings" in name:
                change[torch.rand(len(change)) >= changed_rows] = 0
            state[name] = tensor + change
        save_file(state, path / "model.safetensors", {"format": "pt"})
    return paths


def recipe(method: str, models: list[Path]) -> dict:
    """The merge as a mergekit recipe, which ours reads too."""
    base, *sources = models
    content: dict = {"merge_method": method, "dtype": "float32", "parameters": METHODS[method]}
    if method == "slerp":
        return content | {"base_model": str(sources[0]), "models": [{"model": str(path)} for path in sources[:2]]}
    weighted = [{"model": str(path), "parameters": {"weight": 1 / len(sources)}} for path in sources]
    return content | {"models": weighted} | ({} if method == "linear" else {"base_model": str(base)})


def floor(models: list[Path], output: Path) -> None:
    """Reads every byte of the models once, adds them, and writes the result."""
    maps = []
    for path in models:
        file = np.memmap(path / "model.safetensors", np.uint8, "r")
        start = 8 + int.from_bytes(file[:8].tobytes(), "little")
        maps.append(file[start : start + (len(file) - start) // 4 * 4].view(np.ndarray).view(np.float32))
    size = 2**17
    scaled = np.empty(size, np.float32)
    output.mkdir()
    with (output / "model.safetensors").open("wb") as file:
        for start in range(0, len(maps[0]), size):
            total = maps[0][start : start + size] * np.float32(1 / len(maps))
            for other in maps[1:]:
                part = scaled[: len(total)]
                total += np.multiply(other[start : start + size], np.float32(1 / len(maps)), out=part)
            file.write(total.data)


class Bench:
    """Runs the programs in a folder and keeps every measurement.

    Args:
        folder: where recipes and results go.
        mergekit: the program mergekit-yaml, None to leave it out.
    """

    def __init__(self, folder: Path, mergekit: str | None) -> None:
        self.folder = folder
        self.mergekit = mergekit
        self.found: dict[tuple[str, str], list[Measure]] = {}
        self.apart: dict[str, float] = {}

    def run(self, name: str, program: str, command: Callable[[Path], list[str]]) -> Path:
        """Measures a program once; returns what it wrote, which is gone with the next run of it."""
        output = self.folder / program
        shutil.rmtree(output, ignore_errors=True)
        took = measured(command(output))
        self.found.setdefault((name, program), []).append(took)
        print(f"{name:>20}  {program:<8}  {took[0]:7.1f} s  {took[1]:6.2f} GB", flush=True)
        return output

    def merge(self, name: str, method: str, models: list[Path], compare: bool = True) -> None:
        """Merges by ours and, if asked, by mergekit."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(recipe(method, models)))
        arguments = [sys.executable, "cli.py", "merge", "--recipe", str(path)]
        ours = self.run(name, "ours", lambda output: [*arguments, "--output-dir", str(output)])
        if self.mergekit is not None and compare:
            program = self.mergekit
            theirs = self.run(name, "mergekit", lambda output: [program, str(path), str(output)])
            self.apart[name] = difference(ours, theirs)

    def floor(self, models: list[Path]) -> None:
        """The floor, once."""
        names = list(map(str, models[1:]))
        self.run("floor", "floor", lambda output: [sys.executable, __file__, "--floor", *names, str(output)])

    def median(self, name: str, program: str) -> Measure | None:
        """The median time of a program's runs, and their highest memory."""
        runs = self.found.get((name, program))
        return None if not runs else (statistics.median(run[0] for run in runs), max(run[1] for run in runs))


def difference(one: Path, other: Path) -> float:
    """The largest absolute difference between two merged models."""
    from safetensors.torch import load_file

    ours = load_file(one / "model.safetensors")
    theirs = {name: tensor for path in other.glob("*.safetensors") for name, tensor in load_file(path).items()}
    return max(
        (ours[name] - tensor).abs().max().item() for name, tensor in theirs.items() if tensor.is_floating_point()
    )


def report(bench: Bench, arguments: argparse.Namespace, gigabytes: float) -> str:
    """The section: command, machine, tables."""
    base = bench.median("floor", "floor")
    rows = []
    for method in arguments.methods:
        ours, theirs = bench.median(method, "ours"), bench.median(method, "mergekit")
        assert ours is not None
        cells = [method, _cell(ours), _cell(theirs)]
        cells += [f"{ours[0] / theirs[0]:.2f}" if theirs else "", f"{ours[0] / base[0]:.2f}" if base else ""]
        apart = f"{bench.apart[method]:.0e}" if method in bench.apart else ""
        rows.append([*cells, "(random)" if method == "dare_ties" and apart else apart])
    rows.append(["floor (linear)", _cell(base), "", "", "1.00", ""])
    head = ["method", "ours", "mergekit", "ours / mergekit", "ours / floor", "largest difference"]
    elsewhere = {"mergekit": str(Path(bench.mergekit).with_name("python"))} if bench.mergekit else {}
    given = [f"{name} {METHODS[name]}" for name in arguments.methods if METHODS[name]]
    parts = [
        "## Merging",
        provenance("torch", "safetensors", hidden=("--folder", "--mergekit"), elsewhere=elsewhere),
        f"{arguments.models} XLM-R classifiers of {gigabytes:.2f} GB in float32, which differ from their base "
        f"everywhere but in {1 - arguments.changed_rows:.0%} of the embeddings' rows. Whole processes, imports "
        f"included: the median of {arguments.repeats} alternating runs, and the highest private memory (anonymous "
        "pages, not the file cache). The floor reads each byte of the sources once, adds them and writes the result, "
        "in a bare loop over memory-mapped files."
        + (f" Parameters are mergekit's: {'; '.join(given)}." if given else ""),
        table(head, rows),
    ]
    many = []
    for method in MANY:
        few, most = (bench.median(f"{method} of {count}", "ours") for count in ("five", "twenty"))
        if few and most:
            many.append([method, _cell(few), _cell(most), f"{most[0] / few[0]:.2f}"])
    if many:
        parts += [
            "Twenty sources beside five (the five folders under four names each):",
            table(["method", "5 sources", "20 sources", "time, 20 / 5"], many),
        ]
    return "\n\n".join(parts)


def check_goals(bench: Bench, methods: list[str]) -> None:
    """Prints which goals hold."""
    base = bench.median("floor", "floor")
    for method in methods:
        ours, theirs = bench.median(method, "ours"), bench.median(method, "mergekit")
        assert ours is not None
        if method == "linear" and base:
            goal("merging by linear, time: ours / floor", ours[0] / base[0], at_most=1.5)
        if method in GOALS and theirs:
            goal(f"merging by {method}, time: ours / mergekit", ours[0] / theirs[0], at_most=GOALS[method])
        goal(f"merging by {method}, private memory in GB", ours[1], at_most=1.5)
    for method in MANY:
        few, most = (bench.median(f"{method} of {count}", "ours") for count in ("five", "twenty"))
        if few and most:
            goal(f"merging by {method}, time: 20 sources / 5", most[0] / few[0], at_most=4.5)


def _cell(measure: Measure | None) -> str:
    return "" if measure is None else f"{measure[0]:.1f} s, {measure[1]:.2f} GB"


def find_mergekit(given: str | None) -> str | None:
    """The program mergekit-yaml: the one given, else this environment's; raises SystemExit where there is none."""
    if given == "none":
        return None
    beside = Path(sys.executable).with_name("mergekit-yaml")
    found = given or (str(beside) if beside.is_file() else shutil.which("mergekit-yaml"))
    if found is None or not Path(found).is_file():
        raise SystemExit('no mergekit: pip install -c constraints.txt -e ".[benchmark]", or --mergekit none')
    return str(Path(found).absolute())


def main() -> None:
    """Runs the comparison, prints each run, and writes the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--size", choices=SIZES, default="base", help="size of the models; goals are for base")
    add("--models", type=int, default=5, help="how many are merged")
    add("--changed-rows", type=float, default=0.05, help="share of the embeddings' rows that differ")
    add("--methods", nargs="*", choices=METHODS, default=list(METHODS), help="which to run")
    add("--repeats", type=int, default=3, help="runs of everything, one after the other")
    add("--no-twenty", action="store_true", help="leave the twenty sources out")
    add("--mergekit", default=None, help="the program mergekit-yaml (default: this environment's), or none")
    add("--folder", type=Path, default=None, help="where the models are kept (default: a temporary folder)")
    add("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    add("--floor", nargs="+", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.floor:
        floor(arguments.floor[:-1], arguments.floor[-1])
        return
    mergekit = find_mergekit(arguments.mergekit)
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    holder = tempfile.TemporaryDirectory() if arguments.folder is None else nullcontext(str(arguments.folder))
    with holder as kept, tempfile.TemporaryDirectory(dir=kept) as temporary:
        models = make_models(
            Path(kept).absolute() / arguments.size, arguments.size, arguments.models, arguments.changed_rows
        )
        base, *sources = models
        twenty = [base, *(Path(temporary) / f"copy{index}" for index in range(20))]
        for index, link in enumerate(twenty[1:]):
            link.symlink_to(sources[index % len(sources)])
        bench = Bench(Path(temporary), mergekit)
        bench.floor(models)  # fills the file cache
        bench.found.clear()
        for _ in range(arguments.repeats):
            bench.floor(models)
            for method in arguments.methods:
                bench.merge(method, method, models)
            for method in () if arguments.no_twenty else MANY:
                bench.merge(f"{method} of five", method, models, compare=False)
                bench.merge(f"{method} of twenty", method, twenty, compare=False)
        section = report(bench, arguments, (base / "model.safetensors").stat().st_size / 1e9)
        print("\n" + section)
        if arguments.size == "base":
            check_goals(bench, arguments.methods)
    if arguments.write:
        write_section("merge", section)


if __name__ == "__main__":
    main()
