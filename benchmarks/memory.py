"""The memory that `fit --dry-run` predicts beside what `fit` takes, for several configurations.

`python benchmarks/memory.py` runs both for each, as processes of their own, `fit` for a few steps of two epochs with
merges after both; peaks are of private memory (RssAnon). XLM-R-base's size is a random encoder with the embedded
base's tokenizer. `--only NAME ...` chooses configurations; `--write` puts the table into docs/benchmarks.md.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from common import PAGE, ROOT, measured, provenance, write_section
from training_task import random_base

from mu_lightning.settings import EMBEDDED_BASE
from mu_lightning.utilities.tables import markdown_table

LOCALES = (
    *("nl-NL", "de-DE", "en-US", "sv-SE", "nb-NO", "da-DK"),
    *("fr-FR", "it-IT", "es-ES", "pt-PT", "ro-RO", "pl-PL"),
)
# Name -> base, members, batch size, vocabulary; the embedded base's members are merged for Afrikaans.
CONFIGURATIONS = {
    "2 members": ("embedded", 2, 64, "used"),
    "6 members": ("embedded", 6, 64, "used"),
    "12 members": ("embedded", 12, 64, "used"),
    "6 members, small batches": ("embedded", 6, 16, "used"),
    "6 members, large batches": ("embedded", 6, 256, "used"),
    "6 members, whole vocabulary": ("embedded", 6, 64, "full"),
    "XLM-R-base's size, 2 members": ("base", 2, 16, "used"),
    "XLM-R-base's size, 1 member": ("base", 1, 16, "used"),
    "XLM-R-base's size, 1 member, whole vocabulary": ("base", 1, 16, "full"),
}
WITHIN = 0.1


def flags(base: Path, members: int, batch: int, vocabulary: str, scratch: Path) -> list[str]:
    """The arguments of `fit`."""
    merged = ["--target-lang", "af-ZA"] if members > 1 else []
    return [
        *("--locales", ",".join(LOCALES[:members]), *merged, "--base", str(base), "--batch-size", str(batch)),
        *(
            "--model.vocabulary",
            vocabulary,
            "--output-dir",
            str(scratch / "run"),
            "--models-dir",
            str(scratch / "models"),
        ),
        *("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "6", "--trainer.enable_progress_bar", "false"),
        *("--trainer.accelerator", "cpu"),
    ]


def predicted(command: list[str]) -> float:
    """MiB that the dry run says."""
    done = subprocess.run([*command, "--dry-run"], cwd=ROOT, capture_output=True, text=True)
    found = re.search(r"predicted peak memory: ([\d,]+) MiB", done.stdout)
    if found is None:
        raise SystemExit(f"{' '.join(command)} --dry-run failed:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    return float(found[1].replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    rows, worst = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("MU_CACHE_DIR", f"{folder}/cache")
        bases = {"embedded": ROOT / EMBEDDED_BASE}
        for place, name in enumerate(arguments.only):
            size, members, batch, vocabulary = CONFIGURATIONS[name]
            if size not in bases:
                bases[size] = random_base(Path(folder) / "base", bases["embedded"])
            scratch = Path(folder) / str(place)
            command = [sys.executable, "cli.py", "fit", *flags(bases[size], members, batch, vocabulary, scratch)]
            told = predicted(command)
            _, peak = measured(command)
            taken = peak * 1e6 / 1024  # `measured` counts a million of the system's kB, of 1024 bytes
            off = told / taken - 1
            worst = max(worst, abs(off))
            rows.append((name, str(batch), vocabulary, f"{told:,.0f}", f"{taken:,.0f}", f"{off:+.1%}"))
            print(" | ".join(rows[-1]), flush=True)
    if arguments.write:
        head = ("", "batch", "vocabulary", "predicted, MiB", "measured, MiB", "difference")
        text = f"""## Memory predicted

{provenance("torch", "lightning", "transformers")} Peaks of private memory (RssAnon) of the whole process, looked at
every 10 ms, beside what `fit --dry-run` says before. Two epochs of six steps; members are merged after each, a single
one is exported. Goal: within {WITHIN:.0%}; the largest difference here is {worst:.1%}.

{markdown_table(head, rows)}"""
        write_section("memory", text)


if __name__ == "__main__":
    main()
