"""What is declared is imported and what is imported is declared, or there is a reason."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Extras of features, whose libraries the program itself imports; the others are for its development.
FEATURES = ("lora", "onnx", "ray", "workspace")

OWN = {"benchmarks", "callbacks", "cli", "mu_lightning", "tests"}
PROGRAM = (ROOT / "cli.py", *(ROOT / "callbacks").rglob("*.py"), *(ROOT / "mu_lightning").rglob("*.py"))
DEVELOPMENT = tuple(path for name in ("tests", "benchmarks", "docs") for path in (ROOT / name).rglob("*.py"))

# Declared and not imported -> why.
NOT_IMPORTED = {
    "lang2vec": "URIEL's tables are read from its folder; its module cannot be imported with today's setuptools",
    "urielplus": "URIEL+'s tables are read from its folder; its module would import a scientific stack",
    "pytorch-lightning": "comes with lightning, which sets no bound to its version",
    "tensorboard": "what Lightning's TensorBoardLogger writes with",
    "sentencepiece": "what transformers reads tokenizers of mDeBERTa's kind with",
    "onnx": "what torch.onnx.export writes with",
    "onnxscript": "what torch.onnx.export translates with",
    "pytest-timeout": "a plugin of pytest",
    "pytest-xdist": "a plugin of pytest",
    "setuptools": "builds the wheel that a test looks into, in a process of its own",
    "mkdocs-material": "the theme of the site",
    "mkdocstrings": "a plugin of mkdocs",
    "mergekit": "what merging is compared with, in an environment and a process of its own",
    "mypy": "a command",
    "pre-commit": "a command",
    "ruff": "a command",
    "types-pyyaml": "read by mypy",
}
# Imported and not declared -> why.
NOT_DECLARED = {"auto_merge_llm": "has no release: the error says how to get it"}


def normal(name: str) -> str:
    """A distribution's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*groups: Iterable[str]) -> set[str]:
    """The names of requirements, those of this project's own extras left out."""
    names = {re.match(r"[\w.-]+", requirement)[0] for group in groups for requirement in group}  # type: ignore[index]
    return {normal(name) for name in names} - {normal(PROJECT["name"])}


@cache
def imports(paths: tuple[Path, ...]) -> set[str]:
    """The packages that files import, at their top or inside a function, by a statement or by their name."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    found |= {alias.name for alias in names}
                case ast.ImportFrom(module=str(name), level=0):
                    found.add(name)
                case ast.Call(
                    func=ast.Attribute(attr="import_module" | "importorskip"), args=[ast.Constant(value=str(name)), *_]
                ):
                    found.add(name)
    beside = {path.stem for path in paths if path not in PROGRAM}  # benchmarks and some tests import their neighbors
    return {name.split(".")[0] for name in found} - set(sys.stdlib_module_names) - OWN - beside


@cache
def distributions() -> dict[str, set[str]]:
    return {package: set(map(normal, names)) for package, names in packages_distributions().items()}


def undeclared(paths: tuple[Path, ...], allowed: set[str]) -> set[str]:
    return {name for name in imports(paths) if not distributions().get(name, {normal(name)}) & allowed} - {
        *NOT_DECLARED
    }


def unused(names: set[str], paths: tuple[Path, ...]) -> set[str]:
    return names - imported_distributions(paths) - NOT_IMPORTED.keys()


def imported_distributions(paths: tuple[Path, ...]) -> set[str]:
    return set().union(*(distributions().get(name, {normal(name)}) for name in imports(paths)))


def test_the_walk_sees_imports_of_every_kind() -> None:
    assert {"torch", "peft", "babel", "yaml"} <= imports(PROGRAM)
    assert {"wandb_workspaces", "pytest"} <= imports(DEVELOPMENT)
    assert distributions()["yaml"] == {"pyyaml"}


def test_what_the_program_imports_is_declared() -> None:
    allowed = declared(PROJECT["dependencies"], *(EXTRAS[name] for name in FEATURES))
    assert undeclared(PROGRAM, allowed) == set()


def test_what_tests_and_benchmarks_import_is_declared() -> None:
    assert undeclared(DEVELOPMENT, declared(PROJECT["dependencies"], *EXTRAS.values())) == set()


def test_what_is_declared_for_the_program_is_imported_by_it_or_has_a_reason() -> None:
    assert unused(declared(PROJECT["dependencies"]), PROGRAM) == set()
    for name in FEATURES:
        assert unused(declared(EXTRAS[name]), PROGRAM) == set(), name


def test_what_is_declared_for_development_is_imported_there_or_has_a_reason() -> None:
    for name in EXTRAS.keys() - FEATURES:
        assert unused(declared(EXTRAS[name]), DEVELOPMENT) == set(), name


def test_a_library_is_declared_once() -> None:
    program = declared(PROJECT["dependencies"])
    for name, group in EXTRAS.items():
        assert declared(group) & program == set(), name


def test_every_reason_is_of_something_that_needs_one() -> None:
    everything = declared(PROJECT["dependencies"], *EXTRAS.values())
    assert NOT_IMPORTED.keys() <= everything
    assert NOT_IMPORTED.keys() & imported_distributions(PROGRAM) == set()
    assert NOT_DECLARED.keys() <= imports(PROGRAM)


def test_every_dependency_has_a_tested_version() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normal(line.partition("==")[0]) for line in lines if "==" in line and not line.startswith("#")}
    assert declared(PROJECT["dependencies"], *EXTRAS.values()) - declared(EXTRAS["benchmark"]) - pinned == set()
