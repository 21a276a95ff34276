"""A wheel holds the whole package, and nothing at its top level that could collide with another distribution."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOVED = ("callbacks", "checkpoints", "configs")  # from the repository's top level into the package
BUILD = "from setuptools import build_meta; build_meta.build_wheel('dist')"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this tree, built in a copy: a build leaves files beside its sources."""
    copy = tmp_path_factory.mktemp("build")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("mu_lightning", *MOVED):
        ignored = shutil.ignore_patterns("__pycache__", "xlm-r-cldr_*")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    subprocess.run([sys.executable, "-c", BUILD], cwd=copy, check=True, capture_output=True, timeout=120)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def test_its_top_level_is_the_package_alone(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert names == {"mu_lightning", f"{wheel.name.removesuffix('-py3-none-any.whl')}.dist-info"}


def test_every_source_file_is_in_it(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "mu_lightning").rglob("*.py")]
    files += [f"mu_lightning/_resources/callbacks/{path.name}" for path in (ROOT / "callbacks").glob("*.py")]
    files += [
        f"mu_lightning/_resources/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")
    ]
    files.append("mu_lightning/_resources/checkpoints/xlm-r-cldr/config.json")
    assert sorted(set(files) - packed) == []


def test_every_other_file_of_the_package_is_in_it(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = [
        path for path in (ROOT / "mu_lightning").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert files
    assert [path for path in files if path.relative_to(ROOT).as_posix() not in packed] == []


def test_the_list_of_packages_is_the_tree() -> None:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    tree = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "mu_lightning").rglob("__init__.py")}
    assert set(found["packages"]) == tree | {f"mu_lightning._resources.{name}" for name in MOVED}


def test_what_it_unpacks_to_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    (tmp_path / "callbacks").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "sq-AL (Albanian)" in run("-m", "mu_lightning", "similarity", "--target-lang", "sq-AL")
    where = "from mu_lightning.utilities.resources import *; print(shipped_folder('callbacks'), resource('configs'))"
    inside = tmp_path / "installed" / "mu_lightning" / "_resources"
    assert run("-c", where).split() == [str(inside / "callbacks"), str(inside / "configs")]
