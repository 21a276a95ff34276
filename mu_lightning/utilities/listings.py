"""Folders that list their own files, so that nothing of anybody else's is removed with them."""

from contextlib import suppress
from pathlib import Path

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import write_json
from mu_lightning.utilities.reading import read_json

LISTING = ".files.json"


def write_listing(folder: Path) -> None:
    """Lists the files in a folder that is complete, in the file `LISTING` in it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if _is_file(path))
    write_json(folder / LISTING, names)


def unlisted(folder: Path) -> list[Path]:
    """The files below a folder that no listing there names."""
    listed = {path for place in _listings(folder) for path in (place, *_listed(place))}
    return sorted(path for path in folder.rglob("*") if _is_file(path) and path not in listed)


def remove_listed(folder: Path) -> None:
    """Removes a folder's listed files, and the folders that are then empty."""
    for place in _listings(folder):
        for path in (*_listed(place), place):
            path.unlink(missing_ok=True)
    for path in sorted((folder, *folder.rglob("*")), reverse=True):
        if path.is_dir() and not path.is_symlink():
            with suppress(OSError):  # not empty
                path.rmdir()


def _listings(folder: Path) -> list[Path]:
    return sorted(folder.rglob(LISTING))


def _listed(place: Path) -> list[Path]:
    """The files of a listing; none where it cannot be read, or leads out of its folder."""
    with suppress(UserError):
        names = read_json(place)
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            paths = [Path(name) for name in names]
            if not any(path.is_absolute() or ".." in path.parts for path in paths):
                return [place.parent / path for path in paths]
    return []


def _is_file(path: Path) -> bool:
    return path.is_symlink() or not path.is_dir()
