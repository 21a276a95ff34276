"""Names of other libraries that begin with an underscore are used in `mu_lightning/utilities/adapters/` alone."""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ADAPTERS = ROOT / "mu_lightning" / "utilities" / "adapters"
FILES = sorted(
    {
        *ROOT.glob("*.py"),
        *(path for folder in ("benchmarks", "callbacks", "mu_lightning") for path in (ROOT / folder).rglob("*.py")),
    }
)
OURS = ("benchmarks", "callbacks", "cli", "mu_lightning")

# Names with an underscore that their libraries document.
DOCUMENTED = {"_asdict", "_exit", "_fields", "_make", "_replace"}
# Text that looks like such a name -> what it is.
TEXTS = {
    "_codecs": "the module that pickles name for bytes; the file is read, not the module",
    "_find_unused_parameters_": "part of the strategy names that Lightning documents",
    "_massive_multilingual": "the end of our own folders' names",
    "_resources": "our own folder in a wheel",
}

_PRIVATE = re.compile(r"_(?!_)\w*[A-Za-z]\w*")
_PRIVATE_PATH = re.compile(r"(\w+\.)*_(?!_)\w*[A-Za-z]\w*(\.\w+)*")  # such as lightning.pytorch.Trainer._run


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def defined(tree: ast.AST) -> set[str]:
    """What a file or a class defines: functions, classes, variables, and attributes that it gives itself."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            found.add(node.attr)
    return found


@cache
def defined_in(path: Path) -> set[str]:
    return defined(tree_of(path))


def is_own(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def imported(tree: ast.AST) -> set[str]:
    """The modules that a file imports, or may: of ``from a import b`` both ``a`` and ``a.b``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def own_names(tree: ast.Module) -> set[str]:
    """What a file, or one of our own that it imports, defines."""
    found = defined(tree)
    for module in imported(tree):
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        if module.split(".")[0] in OURS and path.is_file():
            found |= defined_in(path)
    return found


def private_names(tree: ast.Module, known: Collection[str] = ()) -> Iterator[tuple[int, str]]:
    """Line and name of all that is another library's own: attributes, imports, keywords, and text that names one."""
    known = {*known, *own_names(tree), *DOCUMENTED}
    in_f_strings = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if id(node) not in in_f_strings:
            line = getattr(node, "lineno", 0)
            yield from ((line, name) for name in names_in(node) if _PRIVATE.fullmatch(name) and name not in known)


def names_in(node: ast.AST) -> list[str]:
    """The names that a node may have from another library."""
    match node:
        case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
            return [name]
        case ast.ImportFrom(module=str(module), names=names) if module.split(".")[0] not in OURS:
            return [*module.split("."), *(alias.name for alias in names)]
        case ast.Import(names=names):
            modules = [alias.name.split(".") for alias in names]
            return [word for module in modules if module[0] not in OURS for word in module]
        case ast.Constant(value=str(text)) if text not in TEXTS and _PRIVATE_PATH.fullmatch(text):
            return text.split(".")
    return []


@pytest.mark.parametrize(
    "code",
    [
        "trainer._results",
        "self._forward_hooks",
        "super()._init_group(group)",
        "trainer.fit_loop._run = 1",
        "from babel.core import _global_data",
        "from lightning._graveyard import x",
        "import numpy._core.multiarray",
        "nn.Embedding(2, 3, _weight=table)",
        "getattr(torch.cpu, '_is_avx2_supported')",
        "{'bf16': '_is_avx512_bf16_supported'}",
        "patch('lightning.pytorch.Trainer._run')",
    ],
)
def test_the_walk_sees_each_kind_of_private_name(code: str) -> None:
    assert list(private_names(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "class A:\n    def __init__(self):\n        self._x = 1\n    def y(self):\n        return self._x",
        "from mu_lightning.typology.databases import _PlainArrays",
        "Row._fields",
        "os._exit(1)",
        "f'{rank}_peak'",
        "x.__dict__",
        "for _ in x: pass",
    ],
)
def test_the_walk_leaves_ones_own_and_documented_names_alone(code: str) -> None:
    assert list(private_names(ast.parse(code))) == []


def test_no_file_uses_a_private_name_of_another_library() -> None:
    ours = set().union(*map(defined_in, FILES))
    assert [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in FILES
        if ADAPTERS not in path.parents
        # A benchmark looks into our own classes without importing them.
        for line, name in private_names(tree_of(path), ours if path.parent.name == "benchmarks" else ())
    ] == []


def test_each_adapter_works_around_something_and_has_a_test() -> None:
    for path in ADAPTERS.glob("[!_]*.py"):
        assert list(private_names(tree_of(path))), f"{path.name} uses nothing private: it can go where it is used"
        assert (ROOT / "tests" / "unit" / "utilities" / "adapters" / f"test_{path.name}").is_file(), path.name


def test_each_text_that_is_let_pass_occurs() -> None:
    texts = {node.value for path in FILES for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant)}
    assert TEXTS.keys() <= texts


def classes() -> set[type]:
    found: set[type] = set()
    for path in FILES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module.split(".")[0] in ("benchmarks", "cli") or module.endswith("__main__"):
            continue  # a benchmark may need what is not installed
        found |= {one for one in vars(importlib.import_module(module)).values() if inspect.isclass(one)}
    return found


@cache
def private_of(kind: type) -> set[str]:
    """The private names that a class' own lines define."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):  # written in C, or made as it ran
        return {name for name in vars(kind) if _PRIVATE.fullmatch(name)}
    return {name for name in defined(tree) if _PRIVATE.fullmatch(name)}


def overrides(kind: type) -> set[str]:
    """The private names of other libraries' classes that a class takes over."""
    bases = [base for base in kind.__mro__ if not is_ours(base) and base is not object]
    return {f"{base.__name__}.{name}" for base in bases for name in private_of(kind) & private_of(base)}


def is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] in (*OURS, __name__.split(".")[0])


def is_adapter(kind: type) -> bool:
    return ADAPTERS.joinpath(kind.__module__.rpartition(".")[2]).with_suffix(".py").is_file()


def test_a_class_that_overrides_a_private_method_is_seen() -> None:
    from torch.optim import AdamW

    class Mine(AdamW):
        def _init_group(self, *_: Any) -> Any:
            pass

    assert overrides(Mine) == {"Adam._init_group"}


def test_no_class_overrides_a_private_method_or_attribute_of_a_librarys_class() -> None:
    found_classes = [kind for kind in classes() if is_ours(kind) and not is_adapter(kind)]
    found = {f"{kind.__module__}.{kind.__qualname__}": overrides(kind) for kind in found_classes}
    assert len(found) > 100
    assert {kind: names for kind, names in found.items() if names} == {}
