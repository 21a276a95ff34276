"""The files that come with the program: configurations and the embedded base, in a checkout and in a wheel alike."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# A checkout has them at its top level; the wheel carries them inside the package.
_ROOTS = (_PACKAGE.parent, _PACKAGE / "_resources")
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
