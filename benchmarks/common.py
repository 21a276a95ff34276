"""What the benchmarks share: measuring a whole process, naming the machine, and their page `docs/benchmarks.md`."""

import os
import platform
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
_INTRODUCTION = """# Benchmarks

Each section is written by the program that it names, from runs on the machine that it names.
"""


def measured(command: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak private memory in GB (anonymous pages: not the file cache) of a process and all that it starts.

    Memory is the largest sum over the processes that run at one time; a page that several share counts once.
    """
    os.sync()  # what an earlier program left to be written is not this one's time
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            began = time.perf_counter()
            peak = max(peak, sum(map(_private, _tree(process.pid))))
            # A look at large processes costs the kernel time: it takes a twentieth of one core at most.
            time.sleep(max(0.05, 20 * (time.perf_counter() - began)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{output[-2000:]}")
    return seconds, peak / 1e6


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:  # grows meanwhile
        with suppress(OSError):  # it has ended
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def _private(pid: int) -> int:
    """A process' share of its anonymous pages in kB; 0 where it has ended."""
    with suppress(OSError, ValueError):
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        return int(lines.get("Pss_Anon", "0 kB").split()[0])
    return 0


def provenance(*packages: str, hidden: Sequence[str] = (), elsewhere: Mapping[str, str] | None = None) -> str:
    """The command, the day, the machine and the versions, for a section's head.

    Args:
        packages: whose versions count.
        hidden: flags whose value says where things lie on this machine, and is left out.
        elsewhere: package -> the Python whose environment has it, where that is another one.
    """
    words = [f"benchmarks/{Path(sys.argv[0]).name}"]
    skip = False
    for word in sys.argv[1:]:
        skip, value = word in hidden, skip
        if not skip and not value:
            words.append(word)
    found = {name: version(name) for name in packages}
    for name, python in (elsewhere or {}).items():
        asked = f"from importlib.metadata import version; print(version('{name}'))"
        found[name] = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    versions = ", ".join(f"{name} {number}" for name, number in found.items())
    return (
        f"`python {' '.join(words)}`, {datetime.now(UTC):%d %B %Y}. Machine: {machine()}. "
        f"Python {platform.python_version()}, {versions}."
    )


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


def goal(what: str, found: float, *, at_least: float | None = None, at_most: float | None = None) -> bool:
    """Prints whether a goal holds, in a line that `benchmarks/all.py` reads; returns whether it does."""
    holds = (at_least is None or found >= at_least) and (at_most is None or found <= at_most)
    wanted = f"at least {at_least:g}" if at_most is None else f"at most {at_most:g}"
    print(f"goal {'holds' if holds else 'missed'}: {what}: {found:.2f}, {wanted}", flush=True)
    return holds


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def write_section(name: str, text: str, page: Path = PAGE) -> None:
    """Puts `text` into the page in place of the section of that name, or at its end; the others stay as they are."""
    content = page.read_text(encoding="utf-8") if page.is_file() else _INTRODUCTION
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    section = f"{start}\n{text.strip()}\n{end}\n"
    if start in content:
        before, _, rest = content.partition(start)
        content = before + section + rest.partition(f"{end}\n")[2]
    else:
        content = f"{content.rstrip()}\n\n{section}"
    page.write_text(content, encoding="utf-8")
