"""The whole study of a corpus: source models, N-by-N, sweep and report, timed, and its page docs/results-<corpus>.md.

    python benchmarks/results.py cldr
    python benchmarks/results.py massive --data-dir PATH --base PATH

Each step is a command that anybody can run; what is finished is not run again, what was interrupted goes on.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import yaml
from common import ROOT, provenance, table

from mu_lightning.utilities.files import write_json, write_text

# Beside the sweep's twelve targets, so that most of these have relatives among the sources.
MASSIVE_SOURCES = ("en-US", "de-DE", "nl-NL", "sv-SE", "it-IT", "es-ES", "fr-FR", "fa-IR", "kn-IN", "tr-TR", "id-ID")
MASSIVE_TRAINING = ("--data.limit_train", "3000", "--max-epochs", "6", "--batch-size", "64")
FIGURES = ("accuracy", "differences", "critical_difference", "nxn", "similarity_transfer")
READING = ("<!-- reading -->", "<!-- end of reading -->")
LONG = 60  # rows or columns of a table that no longer can be read on a page


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=["cldr", "massive"])
    parser.add_argument("--data-dir", help="MASSIVE's release directory")
    parser.add_argument("--base", help="of MASSIVE's source models")
    parser.add_argument("--precision", default="32-true", help="of training MASSIVE's source models")
    return parser.parse_args()


def steps(options: argparse.Namespace) -> dict[str, list[str]]:
    """Step -> its command, after ``python cli.py``."""
    runs, grid = f"runs/{options.corpus}", f"configs/experiment/sweep-{options.corpus}.yaml"
    targets = yaml.safe_load((ROOT / grid).read_text(encoding="utf-8"))["target_languages"]
    joint = ["--multilingual", "--models-dir", f"{runs}/joint", "--output-dir", f"{runs}/joint-run"]
    sweep = ["sweep", "--config", grid, "--baselines", "native", "sources", "joint", "--joint-model"]
    report = ["report", f"{runs}/sweep", "--nxn", f"{runs}/nxn", "--output-dir", f"{runs}/report"]
    if options.corpus == "cldr":
        fit = ["fit", "--config", "configs/source.yaml", "--locales", "all"]
        model = f"xlm-r-cldr_cldr_without-{'+'.join(targets)}"
        return {
            "52 source models": [*fit, "--skip-existing"],
            "joint model of the 40 locales that are no targets": [
                *(*fit, "--exclude", ",".join(targets)),
                *(*joint, "--max-epochs", "2"),
            ],
            "52 x 52 matrix": ["nxn", "--corpus", "cldr", "--output-dir", f"{runs}/nxn"],
            "sweep": [*sweep, f"{runs}/joint/{model}"],
            "report": report,
        }
    where = ["--corpus", "massive", "--data-dir", options.data_dir, "--base", options.base]
    fit = ["fit", *where, *MASSIVE_TRAINING, "--precision", options.precision, "--locales"]
    model = f"{Path(options.base).name}_massive_multilingual"
    return {
        f"{len(targets) + len(MASSIVE_SOURCES)} source models": [
            *(*fit, ",".join([*targets, *MASSIVE_SOURCES])),
            "--skip-existing",
        ],
        f"joint model of the {len(MASSIVE_SOURCES)} locales that are no targets": [
            *(*fit, ",".join(MASSIVE_SOURCES)),
            *(*joint, "--max-epochs", "2"),
        ],
        "matrix": ["nxn", *where, "--locales", ",".join([*targets, *MASSIVE_SOURCES]), "--output-dir", f"{runs}/nxn"],
        "sweep": [
            *(*sweep, f"{runs}/joint/{model}"),
            *("--data-dir", options.data_dir, "--base", options.base),
        ],
        "report": report,
    }


def run(options: argparse.Namespace) -> dict[str, float]:
    """Runs what is not done; the seconds of each step, over all the times that it was started."""
    place = ROOT / f"runs/{options.corpus}/times.json"
    records = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    for name, command in steps(options).items():
        record = records.setdefault(name, {"seconds": 0.0, "done": False})
        if record["done"]:
            continue
        if command[0] == "report":
            shutil.rmtree(ROOT / command[-1], ignore_errors=True)
        print(f"== {name}", flush=True)
        started = time.perf_counter()
        status = subprocess.run([sys.executable, "cli.py", *command], cwd=ROOT).returncode
        record["seconds"] += time.perf_counter() - started
        record["done"] = status == 0
        write_json(place, records)
        if status:
            raise SystemExit(f"{name} failed: start this again to go on")
    return {name: records[name]["seconds"] for name in steps(options)}


def page_of(options: argparse.Namespace) -> Path:
    """Where the page lies."""
    return ROOT / f"docs/results-{options.corpus}.md"


def page(options: argparse.Namespace, times: dict[str, float]) -> str:
    """The commands, their times, and what the report says; what people wrote between the marks of `READING` stays."""
    rows, shown = [], []
    for name, command in steps(options).items():
        words = ["PATH" if word in (options.data_dir, options.base) else word for word in command]
        rows.append([name, f"{timedelta(seconds=round(times[name]))}"])
        shown.append(f"python cli.py {' '.join(words)}")
    rows.append(["**together**", f"**{timedelta(seconds=round(sum(times.values())))}**"])
    commands = "\n".join(shown)
    old = place.read_text(encoding="utf-8") if (place := page_of(options)).is_file() else ""
    reading = old.partition(READING[0])[2].partition(READING[1])[0].strip()
    where = provenance("torch", "lightning", "transformers", hidden=("--data-dir", "--base"))
    return (
        f"# Results: {options.corpus}\n\n{where} It ran these commands; their times are of whole processes.\n\n"
        f"```bash\n{commands}\n```\n\n{table(['step', 'h:mm:ss'], rows)}\n\n"
        "What follows is what the last command wrote as `report.md`, without some figures and the longest tables.\n\n"
        f"{READING[0]}\n{reading}\n{READING[1]}\n\n{reported(options.corpus)}\n"
    )


def reported(corpus: str) -> str:
    """The report as a part of a page in docs/, with its pictures beside that."""
    report, pictures = ROOT / f"runs/{corpus}/report", ROOT / f"docs/results-{corpus}"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    text = (report / "report.md").read_text(encoding="utf-8")
    text = text[text.index("## ") :]
    parts = []
    for part in text.split("\n\n"):
        picture = re.match(r"!\[(.*)\]\(figures/(\w+)\.svg\)", part)
        if picture and picture[2] in FIGURES:
            shutil.copy(report / "figures" / f"{picture[2]}.png", pictures)
            parts.append(f"![{picture[1]}](results-{corpus}/{picture[2]}.png)")
        elif picture:
            parts.append(f"(figure `{picture[2]}` of the report)")
        elif part.startswith("| ") and max(part.count("\n"), part.partition("\n")[0].count("|")) > LONG:
            parts.append("(left out here: too long)")
        else:
            part = re.sub(r" \(\[CSV\]\(tables/[^)]*\), \[LaTeX\]\(tables/[^)]*\)\)", "", part)
            parts.append(re.sub(r"\[(tables/[^\]]*)\]\([^)]*\)", r"`\1` of the report", part))
    return "\n\n".join(parts).strip()


def main() -> None:
    """Runs the study and writes its page."""
    options = arguments()
    if options.corpus == "massive" and not (options.data_dir and options.base):
        raise SystemExit("massive needs --data-dir and --base")
    times = run(options)
    write_text(page_of(options), page(options, times))


if __name__ == "__main__":
    main()
