"""Arrays in the cache: mapped, checked, and computed anew where they are not what was written."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.data.token_cache import cache_dir, cached
from mu_lightning.utilities.errors import UserError

NUMBERS = np.arange(1000, dtype=np.int32)


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MU_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def never() -> np.ndarray:
    raise AssertionError("it was computed again")


def test_an_array_is_computed_once_and_mapped(fresh_cache: Path) -> None:
    for compute in (lambda: NUMBERS, never):
        found = cached("key", compute)
        assert np.array_equal(found, NUMBERS)
        assert isinstance(found, np.memmap)
        assert not found.flags.writeable
    assert [path.relative_to(fresh_cache).as_posix() for path in fresh_cache.rglob("*.npy")] == ["tokens/key.npy"]


def altered(content: bytes) -> bytes:
    return content[:-400] + b"\5\0\0\0" * 100


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"",
        lambda content: content[:-100],
        lambda content: content[:20],
        lambda content: os.urandom(500),
        lambda content: content.replace(b"<i4", b"<f4"),
        lambda content: content.replace(b"False", b"(((((", 1),
        lambda content: content[:-4] + b"\xff\xff\xff\x7f",
        altered,
        lambda content: content + b"\0\0\0\0",
    ],
)
def test_an_array_that_was_changed_is_computed_anew(
    fresh_cache: Path, harm: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    cached("key", lambda: NUMBERS)
    (path,) = fresh_cache.rglob("*.npy")
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(harm(whole))
    try:
        assert np.array_equal(cached("key", lambda: NUMBERS), NUMBERS)
    finally:
        said = capsys.readouterr().err
    if harm(whole)[: len(whole)] != whole:  # what follows the array is not read
        assert said == f"{path} is corrupt; recomputing\n"
        assert path.read_bytes() == whole
    assert np.array_equal(cached("key", never), NUMBERS)


def test_a_cache_that_cannot_be_written_to_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MU_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"file cannot be used .*: name another folder in MU_CACHE_DIR"):
        cached("key", lambda: NUMBERS)


def test_the_cache_is_in_the_home_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MU_CACHE_DIR", "")
    assert cache_dir() == tmp_path / ".cache" / "mu-lightning"
    monkeypatch.setenv("MU_CACHE_DIR", "/elsewhere")
    assert cache_dir() == Path("/elsewhere")
