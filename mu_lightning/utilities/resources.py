"""Bundled files: configurations and the embedded base, in a checkout and in a wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# A wheel has them inside the package, a checkout at its top level. Next to an installed package there may be folders of
# other packages with the same names, so that place comes second.
_ROOTS = (_PACKAGE / "_resources", _PACKAGE.parent)
_SHIPPED = ("configs", "checkpoints/xlm-r-cldr")


def resource(path: str | Path) -> Path:
    """Returns the path if it exists or is not bundled, else the bundled file or folder.

    ``--config configs/quickstart.yaml`` and the embedded base therefore work from any folder.

    >>> resource("checkpoints/xlm-r-cldr").name
    'xlm-r-cldr'
    """
    given = Path(path)
    if given.exists() or given.is_absolute() or not given.as_posix().startswith(_SHIPPED):
        return given
    return next((root / given for root in _ROOTS if (root / given).exists()), given)


def shipped_folder(name: str) -> Path:
    """Returns a bundled folder; never one in the current folder.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for root in _ROOTS:
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"the folder {name} is not in {' or '.join(map(str, _ROOTS))}: install mu-lightning again")
