"""Merging side by side: ours, mergekit and the floor, each a whole process; wall time and peak private memory.

`python benchmarks/merge.py --mergekit .venv-mergekit/bin/mergekit-yaml` makes five XLM-R-base-size classifiers that
were "fine-tuned" from one base, merges them by each method, and prints a table. The floor reads every byte of the
sources once and writes the result: a bare loop over memory-mapped files. `--size tiny` tries it in seconds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
import yaml
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[1]
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


def make_models(folder: Path, size: str, count: int, changed_rows: float) -> list[Path]:
    """Writes a base and `count` models that differ from it everywhere but in most rows of the embeddings."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification  # not in the floor's time

    config = XLMRobertaConfig(**SIZES[size], num_attention_heads=SIZES[size]["hidden_size"] // 32, num_labels=60)
    torch.manual_seed(0)
    model = XLMRobertaForSequenceClassification(config)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    paths = []
    for index in range(count + 1):
        path = folder / ("base" if index == 0 else f"source{index}")
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps(config.to_dict() | {"architectures": [type(model).__name__]}))
        state = dict(base)
        for name, tensor in base.items() if index else ():
            change = 1e-3 * torch.randn(tensor.shape)
            if "word_embeddings" in name:
                change[torch.rand(len(change)) >= changed_rows] = 0
            state[name] = tensor + change
        save_file(state, path / "model.safetensors", {"format": "pt"})
        paths.append(path)
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
    torch.set_num_threads(1)  # faster than two on pieces of this size, and steady on a busy machine
    maps = []
    for path in models:
        file = path / "model.safetensors"
        size = file.stat().st_size
        raw = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
        start = 8 + int.from_bytes(raw[:8].numpy().tobytes(), "little")
        maps.append(raw[start : start + (size - start) // 4 * 4].view(torch.float32))
    output.mkdir()
    with (output / "model.safetensors").open("wb") as file:
        for start in range(0, len(maps[0]), 2**18):
            total = maps[0][start : start + 2**18] / len(maps)
            for other in maps[1:]:
                total.add_(other[start : start + 2**18], alpha=1 / len(maps))
            file.write(total.numpy().data)


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak private memory in GB (anonymous pages: not the file cache) of a whole process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak = 0

    def watch() -> None:
        nonlocal peak
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            try:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
                peak = max(peak, int(lines.get("RssAnon", "0 kB").split()[0]))
            except (OSError, ValueError):
                return
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output[-2000:]}")
    return time.perf_counter() - started, peak / 1e6


def main() -> None:
    """Runs the comparison and prints it as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base", help="size of the models")
    parser.add_argument("--models", type=int, default=5, help="how many are merged")
    parser.add_argument("--changed-rows", type=float, default=0.05, help="share of the embeddings' rows that differ")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="which to run")
    parser.add_argument("--mergekit", default=None, help="the program mergekit-yaml; without it ours and the floor run")
    parser.add_argument("--folder", type=Path, default=None, help="where to write the models (default: temporary)")
    parser.add_argument("--floor", nargs="+", type=Path, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.floor:
        floor(arguments.floor[:-1], arguments.floor[-1])
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        models = make_models(folder / "models", arguments.size, arguments.models, arguments.changed_rows)
        print(
            f"{arguments.models} models of {(models[0] / 'model.safetensors').stat().st_size / 1e9:.2f} GB, "
            f"{arguments.changed_rows:.0%} of the embeddings' rows changed, {torch.get_num_threads()} threads\n"
        )
        print("| method | ours | mergekit | ours / mergekit | largest difference |\n|---|---|---|---|---|")
        for method in arguments.methods:
            path = folder / f"{method}.yaml"
            path.write_text(yaml.safe_dump(recipe(method, models)))
            ours = measured(
                [sys.executable, "cli.py", "merge", "--recipe", str(path), "--output", str(folder / "ours")]
            )
            theirs, apart = None, ""
            if arguments.mergekit:
                theirs = measured([arguments.mergekit, str(path), str(folder / "theirs")])
                apart = f"{difference(folder / 'ours', folder / 'theirs'):.0e}"
            print(_row(method, ours, theirs, apart if method != "dare_ties" else "(random)"), flush=True)
            subprocess.run(["rm", "-rf", str(folder / "ours"), str(folder / "theirs")], check=True)
        command = [sys.executable, __file__, "--floor", *map(str, models[1:]), str(folder / "floor")]
        print(_row("floor (linear)", measured(command), None, ""))


def difference(one: Path, other: Path) -> float:
    """The largest absolute difference between two merged models."""
    ours = load_file(one / "model.safetensors")
    theirs = {name: tensor for path in other.glob("*.safetensors") for name, tensor in load_file(path).items()}
    return max(
        (ours[name] - tensor).abs().max().item() for name, tensor in theirs.items() if tensor.is_floating_point()
    )


def _row(name: str, ours: tuple[float, float], theirs: tuple[float, float] | None, apart: str) -> str:
    cells = [f"{seconds:.1f} s, {memory:.2f} GB" for seconds, memory in (ours, *([theirs] if theirs else []))]
    ratio = f"{ours[0] / theirs[0]:.2f}" if theirs else ""
    return f"| {name} | {cells[0]} | {cells[1] if theirs else ''} | {ratio} | {apart} |"


if __name__ == "__main__":
    main()
