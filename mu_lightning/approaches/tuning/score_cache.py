"""Numbers of right answers that were counted before, so that an interrupted tuning goes on."""

import json
import sys
from collections.abc import Callable

from mu_lightning.data.token_cache import cache_dir
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import write_json


class ScoreCache:
    """Counts by candidate, in one file.

    Args:
        key: names all else that the counts depend on.
    """

    def __init__(self, key: str) -> None:
        self._path = cache_dir() / "tuning" / f"{key}.json"
        self._found = self._read()
        self._changed = False

    def value(self, candidate: str, compute: Callable[[], int]) -> int:
        """The count of a candidate, computed where the cache does not have it."""
        if candidate not in self._found:
            self._found[candidate] = compute()
            self._changed = True
        return self._found[candidate]

    def write(self) -> None:
        """Writes what was computed; raises UserError if the cache cannot be written to."""
        if not self._changed:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, self._found)
        except OSError as error:
            raise UserError(
                f"the cache {cache_dir()} cannot be used ({error.strerror or error}): name another folder in "
                "MU_CACHE_DIR"
            ) from error
        self._changed = False

    def _read(self) -> dict[str, int]:
        if not self._path.is_file():
            return {}
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            if isinstance(found, dict) and all(type(count) is int and count >= 0 for count in found.values()):
                return found
        except (UnicodeDecodeError, ValueError, RecursionError):
            pass
        print(f"{self._path} is corrupt; recomputing", file=sys.stderr)
        return {}
