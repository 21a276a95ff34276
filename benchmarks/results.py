"""The whole study of a corpus: source models, N-by-N, sweep and report, timed, and its page docs/results-<corpus>.md.

    python benchmarks/results.py cldr
    python benchmarks/results.py massive --data-dir PATH --base PATH

    python benchmarks/results.py cldr --only approaches

Each step is a command that anybody can run; what is finished is not run again, what was interrupted goes on. `--only`
runs one part and leaves the rest of the page as it is: the study, or every approach beside the others.
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
from common import ROOT, provenance, table, write_section

from mu_lightning.utilities.files import write_json, write_text

# Beside the sweep's twelve targets, so that most of these have relatives among the sources.
MASSIVE_SOURCES = ("en-US", "de-DE", "nl-NL", "sv-SE", "it-IT", "es-ES", "fr-FR", "fa-IR", "kn-IN", "tr-TR", "id-ID")
MASSIVE_TRAINING = ("--data.limit_train", "3000", "--max-epochs", "6", "--batch-size", "64")
FIGURES = ("accuracy", "differences", "critical_difference", "nxn", "similarity_transfer")
READING = ("<!-- reading -->", "<!-- end of reading -->")
STUDY, APPROACHES = "study", "approaches"
APPROACHES_MARKS = (f"<!-- {APPROACHES} -->", f"<!-- end of {APPROACHES} -->")
APPROACHES_GRID = "configs/experiment/approaches-cldr.yaml"
# Sections of the report on approaches that the page takes.
SHOWN = ("Summary", "Methods by targets")
LONG = 60  # rows or columns of a table that no longer can be read on a page


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=["cldr", "massive"])
    parser.add_argument("--data-dir", help="MASSIVE's release directory")
    parser.add_argument("--base", help="of MASSIVE's source models")
    parser.add_argument("--only", choices=[STUDY, APPROACHES], help="one part (default: all that the corpus has)")
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


def approaches_steps() -> dict[str, list[str]]:
    """Step -> its command, of the embedded corpus' sweep over every approach."""
    folder = yaml.safe_load((ROOT / APPROACHES_GRID).read_text(encoding="utf-8"))["output_dir"]
    return {
        "approaches": ["sweep", "--config", APPROACHES_GRID],
        "report on approaches": ["report", folder, "--output-dir", f"{folder}-report"],
    }


def run(commands: dict[str, list[str]], place: Path) -> dict[str, float]:
    """Runs what is not done; the seconds of each step, over all the times that it was started.

    Args:
        commands: step -> its command.
        place: the file that records them.
    """
    records = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {}
    for name, command in commands.items():
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
    return {name: records[name]["seconds"] for name in commands}


def page_of(options: argparse.Namespace) -> Path:
    """Where the page lies."""
    return ROOT / f"docs/results-{options.corpus}.md"


def between(text: str, marks: tuple[str, str]) -> str:
    """What lies between two marks; empty without them."""
    return text.partition(marks[0])[2].partition(marks[1])[0].strip()


def ran(commands: dict[str, list[str]], times: dict[str, float], hidden: tuple[str, ...] = ()) -> str:
    """The commands and their times, as Markdown; hidden words say where things lie on this machine."""
    shown = [" ".join("PATH" if word in hidden else word for word in words) for words in commands.values()]
    rows = [[name, f"{timedelta(seconds=round(times[name]))}"] for name in commands]
    rows.append(["**together**", f"**{timedelta(seconds=round(sum(times.values())))}**"])
    lines = "\n".join(f"python cli.py {line}" for line in shown)
    return f"```bash\n{lines}\n```\n\n{table(['step', 'h:mm:ss'], rows)}"


def page(options: argparse.Namespace, times: dict[str, float]) -> str:
    """The study's commands, their times, and what the report says; the parts between marks stay as they were."""
    old = place.read_text(encoding="utf-8") if (place := page_of(options)).is_file() else ""
    kept = f"{READING[0]}\n{between(old, READING)}\n{READING[1]}"
    if approaches := between(old, APPROACHES_MARKS):
        kept += f"\n\n{APPROACHES_MARKS[0]}\n{approaches}\n{APPROACHES_MARKS[1]}"
    where = provenance("torch", "lightning", "transformers", hidden=("--data-dir", "--base"))
    commands = ran(steps(options), times, (options.data_dir, options.base))
    return (
        f"# Results: {options.corpus}\n\n{where} It ran these commands; their times are of whole processes.\n\n"
        f"{commands}\n\n"
        "What follows is what the last command wrote as `report.md`, without some figures and the longest tables.\n\n"
        f"{kept}\n\n{reported(options.corpus)}\n"
    )


def approaches_section(report: Path, times: dict[str, float]) -> str:
    """Every approach beside the others: the commands, and the report's summary, answers and table of methods."""
    text = (report / "report.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    found = {part.partition("\n")[0].strip(): part.partition("\n")[2] for part in sections}
    missing = [title for title in SHOWN if title not in found]
    if missing:
        raise SystemExit(f"{report / 'report.md'} has no section {', '.join(missing)}")
    kept = [
        f"### {title}\n\n" + "\n\n".join(part for part in map(plain, found[title].strip().split("\n\n")) if part)
        for title in SHOWN
    ]
    return "\n\n".join(
        [
            "## Approaches",
            f"{provenance('torch', 'lightning', 'transformers')} Every approach on three targets of three families, "
            "with source models trained for each seed.",
            ran(approaches_steps(), times),
            *kept,
        ]
    )


def plain(part: str) -> str:
    """A paragraph of a report without its figures and its links to files beside it."""
    if re.match(r"!\[.*\]\(figures/", part) or re.fullmatch(r"\*[^*]+\*", part):
        return ""
    return linked(part)


def linked(part: str) -> str:
    """A paragraph of a report whose links to files beside it are words."""
    part = re.sub(r" \(\[CSV\]\(tables/[^)]*\), \[LaTeX\]\(tables/[^)]*\)\)", "", part)
    return re.sub(r"\[(tables/[^\]]*)\]\([^)]*\)", r"`\1` of the report", part)


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
            parts.append(linked(part))
    return "\n\n".join(parts).strip()


def main() -> None:
    """Runs the parts that are asked for and writes them into the page."""
    options = arguments()
    if options.corpus == "massive" and not (options.data_dir and options.base):
        raise SystemExit("massive needs --data-dir and --base")
    if options.corpus == "massive" and options.only == APPROACHES:
        raise SystemExit(f"--only {APPROACHES} is of cldr")
    place = page_of(options)
    if options.only != APPROACHES:
        times = run(steps(options), ROOT / f"runs/{options.corpus}/times.json")
        write_text(place, page(options, times))
    if options.only != STUDY and options.corpus == "cldr":
        commands = approaches_steps()
        report = ROOT / commands["report on approaches"][-1]
        times = run(commands, report.with_name(f"{report.name}-times.json"))
        text = place.read_text(encoding="utf-8")
        if APPROACHES_MARKS[0] not in text:  # after what people wrote, before the study's own report
            marks = f"{READING[1]}\n\n{APPROACHES_MARKS[0]}\n{APPROACHES_MARKS[1]}"
            write_text(place, text.replace(READING[1], marks))
        write_section(APPROACHES, approaches_section(report, times), place)


if __name__ == "__main__":
    main()
