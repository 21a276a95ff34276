"""What the benchmarks share: which machine it was, and a section of docs/benchmarks.md for each."""

import os
import platform
import re
from pathlib import Path

REPORT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = "# Benchmarks\n\nEach section is written by the command that it names.\n"


def machine() -> str:
    """The processor, how many of its cores, and the memory, in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        facts = dict(part for line in lines if len(part := re.split(r"\s*:\s*", line, maxsplit=1)) == 2)
        name = f"{facts['model name']} (family {facts['cpu family']}, model {facts['model']})"
    except (OSError, KeyError):
        name = platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {memory:.0f} GiB"


def replace_section(title: str, body: str, path: Path = REPORT) -> None:
    """Puts `body` under the heading `title`, in place of what stood there; the other sections stay as they are."""
    text = path.read_text(encoding="utf-8") if path.is_file() else HEAD
    head, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    kept = {section.partition("\n")[0]: section.partition("\n")[2].strip() for section in sections}
    kept[title] = body.strip()
    parts = [head.strip(), *(f"## {name}\n\n{content}" for name, content in kept.items())]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
