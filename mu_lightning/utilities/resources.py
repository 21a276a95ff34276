"""The files that come with the program: configurations and the embedded base, in a checkout and in a wheel alike."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# The wheel carries them inside the package, a checkout has them at its top level. Beside an installed package may lie
# other packages' folders of the same names, so that place comes second.
_ROOTS = (_PACKAGE / "_resources", _PACKAGE.parent)
_SHIPPED = ("configs", "checkpoints/xlm-r-cldr")


def resource(path: str | Path) -> Path:
    """`path` itself if it exists or is not one of ours; else the shipped file or folder of that name.

    So ``--config configs/quickstart.yaml`` and the embedded base work from any folder.

    >>> resource("checkpoints/xlm-r-cldr").name
    'xlm-r-cldr'
    """
    given = Path(path)
    if given.exists() or given.is_absolute() or not given.as_posix().startswith(_SHIPPED):
        return given
    return next((root / given for root in _ROOTS if (root / given).exists()), given)


def shipped_folder(name: str) -> Path:
    """The folder `name` of the checkout's top level, or where the wheel carries it; never one of the current folder.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for root in _ROOTS:
        if (root / name).is_dir():
            return root / name
    raise FileNotFoundError(f"the folder {name} is not in {' or '.join(map(str, _ROOTS))}: install mu-lightning again")
