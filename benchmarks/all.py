"""Runs the benchmarks of this folder that have goals, one after another, and tells which goals hold.

`python benchmarks/all.py` takes a while and up to 16 GiB of memory; on two cores nothing else should run beside it.
`--only train,startup` runs some, `--write` lets each put its section into docs/benchmarks.md. A benchmark prints its
goals with `common.goal`. The exit status is 1 if a goal is missed or a benchmark fails.
"""

import argparse
import re
import subprocess
import sys
import time

from common import ROOT, machine, table

# Name -> the commands, modest enough that all of them take about an hour on two cores.
RUNS = {
    "startup": ["startup.py"],
    "train": ["train.py"],
    "train-merge": ["train.py --merge"],
    "evaluate": ["evaluate.py"],
    "merge": ["merge.py"],
    "workflow": ["workflow.py"],
}
GOAL = re.compile(r"goal (holds|missed): (.*): ([^:]+), (at (?:least|most) \S+)")


def goals(output: str) -> list[list[str]]:
    """Rows of what, found, wanted and whether it holds, from a benchmark's output."""
    found = map(GOAL.fullmatch, output.splitlines())
    return [[one[2], one[3], one[4], "yes" if one[1] == "holds" else "NO"] for one in found if one]


def main() -> int:
    """Runs them, prints the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(RUNS), help="which, separated by commas")
    parser.add_argument("--write", action="store_true", help="let each write its section of docs/benchmarks.md")
    arguments = parser.parse_args()
    rows: list[list[str]] = []
    for name in arguments.only.split(","):
        if name not in RUNS:
            parser.error(f"there is no benchmark '{name}': choose among {', '.join(RUNS)}")
        for command in RUNS[name]:
            words = [*command.split(), *(["--write"] if arguments.write else [])]
            print(f"\n$ python benchmarks/{' '.join(words)}", flush=True)
            started = time.perf_counter()
            program = [sys.executable, "-u", str(ROOT / "benchmarks" / words[0]), *words[1:]]
            process = subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            lines = []
            for line in process.stdout or ():
                print(line, end="", flush=True)
                lines.append(line)
            found = goals("".join(lines))
            status = process.wait()
            if status or not found:
                found.append([f"{command}: exit status {status}, {len(found)} goals told", "", "", "NO"])
            rows += found
            print(f"({time.perf_counter() - started:.0f} s)", flush=True)
    print(f"\n{machine()}\n\n{table(['goal', 'found', 'wanted', 'holds'], rows)}")
    return int(any(row[-1] == "NO" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
