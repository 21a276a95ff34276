"""The system's errors, whichever library reports them."""

import errno
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.utilities.files import atomic_file, atomic_folder
from mu_lightning.utilities.system_errors import system_error, told


def test_the_number_in_a_librarys_error_is_the_systems() -> None:
    found = system_error(RuntimeError("I/O error: No space left on device (os error 28)"), Path("model"))
    assert found is not None
    assert (found.errno, found.filename) == (errno.ENOSPC, "model")
    assert told(found) == "model: No space left on device: make room, or name another place"
    assert system_error(RuntimeError("error 28"), Path("model")) is None
    assert system_error(OSError("(os error 28)"), Path("model")) is None


@pytest.mark.parametrize("context", [atomic_file, atomic_folder])
@pytest.mark.parametrize("name", [None, "inner"])
def test_an_error_names_what_was_being_written(tmp_path: Path, context: Any, name: str | None) -> None:
    library = RuntimeError("No space left on device (os error 28)")
    for error in (OSError(errno.ENOSPC, "No space left on device", name), *([library] if name is None else [])):
        with pytest.raises(OSError, match="No space left on device") as raised, context(tmp_path / "out"):
            raise error
        assert raised.value.errno == errno.ENOSPC
        assert raised.value.filename == (name or str(tmp_path / "out"))
        assert list(tmp_path.iterdir()) == []
