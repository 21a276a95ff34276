"""Arrows between packages run one way, and help costs no heavy import."""

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest

import cli

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "lightning", "transformers")
# A package may import what stands to its right.
# A model's Lightning side feeds the evaluation's collector; evaluation itself knows batches and logits, but no model.
ARROWS = (
    "commands",
    "api",
    "reporting",
    "advice",
    "experiments",
    "approaches",
    "callbacks",
    "training",
    "results",
    "monitoring",
    "models",
    "evaluation",
    "data",
    "locales",
)


def imports(path: Path) -> set[str]:
    """The full names of all that a file imports anywhere, inside functions and under TYPE_CHECKING too.

    Only callbacks import each other relatively: their files lie outside the package that they belong to.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= (path.parent == ROOT / "callbacks"), f"{path}: relative import of {node.module}"
            package = "mu_lightning.callbacks." if node.level else ""
            found |= {f"{package}{node.module}.{alias.name}" for alias in node.names}
    return found


def module_name(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return name.replace("callbacks.", "mu_lightning.callbacks.") if name.startswith("callbacks.") else name


MODULES = {
    module_name(path): imports(path)
    for path in (ROOT / "cli.py", *(ROOT / "callbacks").rglob("*.py"), *(ROOT / "mu_lightning").rglob("*.py"))
}


def part(name: str) -> str:
    """The part of mu_lightning that a module or an imported name belongs to; empty for anything else."""
    words = name.split(".")
    return words[1] if words[0] == "mu_lightning" and len(words) > 1 else ""


def offenders(of: str, *parts: str) -> list[tuple[str, str]]:
    return sorted(
        (module, name)
        for module, imported in MODULES.items()
        if part(module) == of
        for name in imported
        if part(name) in parts
    )


def test_the_walk_sees_imports_inside_functions_and_of_every_package() -> None:
    assert "mu_lightning.commands.program.main" in MODULES["cli"]
    assert "mu_lightning.callbacks.merge.MergeCallback" in MODULES["mu_lightning.callbacks.history"]
    assert "lightning.pytorch.Trainer" in MODULES["mu_lightning.commands.pretrain"]
    assert {part(module) for module in MODULES} >= {*ARROWS, "merging", "typology"}


def test_the_package_imports_no_script_and_no_second_name_of_the_callbacks() -> None:
    outside = {"cli", "callbacks"}
    assert [
        (module, name)
        for module, imported in MODULES.items()
        for name in imported
        if name.split(".")[0] in outside and module not in outside
    ] == []


@pytest.mark.parametrize("of", ARROWS)
def test_a_package_imports_only_what_the_design_puts_below_it(of: str) -> None:
    assert offenders(of, *ARROWS[: ARROWS.index(of)]) == []


@pytest.mark.parametrize("of", ["merging", "typology"])
def test_merging_and_typology_know_neither_models_nor_data(of: str) -> None:
    assert offenders(of, "models", "data", *ARROWS[: ARROWS.index("models")], "evaluation") == []


@pytest.mark.parametrize("of", ["utilities", "settings", "schedules"])
def test_what_everything_rests_on_rests_on_nothing_above_it(of: str) -> None:
    assert offenders(of, *ARROWS[:-1], "merging", "typology", "checkpoints") == []


def test_no_two_parts_import_each_other_around_any_corner() -> None:
    graph: dict[str, set[str]] = {}
    for module, imported in MODULES.items():
        graph.setdefault(part(module), set()).update(part(name) for name in imported)
    for name, others in graph.items():
        others -= {name, "", "__version__"}
    list(TopologicalSorter({name: others for name, others in graph.items() if name}).static_order())  # CycleError


def test_the_fast_paths_of_the_cpu_have_one_interface() -> None:
    folder = "mu_lightning.models.cpu"
    inner = {module for module in MODULES if module.startswith(f"{folder}.")}
    assert {f"{folder}.packed", f"{folder}.stacked", f"{folder}.plain"} <= inner
    assert [
        (module, name)
        for module, imported in MODULES.items()
        for name in imported
        if not module.startswith(folder) and (name in inner or name.rpartition(".")[0] in inner)
    ] == []


def test_no_two_files_import_each_other_around_any_corner() -> None:
    graph = {
        module: ({name if name in MODULES else name.rpartition(".")[0] for name in imported} & MODULES.keys())
        - {module}
        for module, imported in MODULES.items()
    }
    assert "mu_lightning.approaches.problem" in graph["mu_lightning.approaches.base"]
    list(TopologicalSorter(graph).static_order())  # CycleError


def loaded(*argv: str) -> tuple[set[str], str, float]:
    """Top-level modules that the program loads for `argv`, what it prints, and the processor seconds that it takes.

    Those, not a clock's: what else a machine does must not decide.
    """
    code = (
        "import sys, json, cli\n"
        "try: status = cli.main(sys.argv[1:])\n"
        "except SystemExit as stop: status = stop.code\n"
        "assert not status, status\n"
        "print('\\0' + json.dumps([name.split('.')[0] for name in sys.modules]))"
    )
    before = getrusage(RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *argv], cwd=ROOT, capture_output=True, text=True, timeout=60)
    after = getrusage(RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode == 0, done.stderr
    printed, _, modules = done.stdout.partition("\0")
    return set(json.loads(modules)), printed, seconds


def fastest(limit: float, *argv: str) -> tuple[set[str], str, float]:
    """The same, of up to five tries: a shared machine may be slow for a moment."""
    best = loaded(*argv)
    for _ in range(4):
        if best[2] < limit:
            break
        best = min(best, loaded(*argv), key=lambda one: one[2])
    return best


def test_the_programs_help_lists_every_command_in_half_a_second_without_a_heavy_import() -> None:
    modules, printed, seconds = fastest(0.5, "--help")
    assert modules.isdisjoint({*HEAVY, "numpy", "jsonargparse"})
    assert [command for command in cli.COMMANDS if f"\n  {command} " not in printed] == []
    assert seconds < 0.5


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_commands_help_takes_less_than_three_seconds_without_a_heavy_import(command: str) -> None:
    modules, printed, seconds = fastest(3, command, "--help")
    assert modules.isdisjoint(HEAVY)
    assert f"mu-lightning {command}" in printed
    assert seconds < 3


def test_settings_are_made_without_a_heavy_import() -> None:
    code = "import sys; from mu_lightning.settings import RunSettings; RunSettings(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert {name.partition(".")[0] for name in done.stdout.split()}.isdisjoint({*HEAVY, "numpy", "jsonargparse"})


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} cli.py merge --list-methods | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("linear")
    assert done.stderr == ""
