"""A file's hash beside it tells whether it is what was written."""

import hashlib
from pathlib import Path

import pytest

from mu_lightning.utilities.checksums import file_hash, has_checksum, write_checksum


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "statistics.safetensors"
    found.write_bytes(b"content")
    write_checksum(found)
    return found


def test_a_file_that_is_as_it_was_written_has_its_checksum(path: Path) -> None:
    assert file_hash(path) == hashlib.sha256(b"content").hexdigest()
    assert has_checksum(path)
    assert [one.name for one in path.parent.iterdir() if one != path] == ["statistics.safetensors.sha256"]


@pytest.mark.parametrize("content", [b"", b"conten", b"Content"])
def test_a_file_that_was_changed_has_not(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert not has_checksum(path)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_file_whose_checksum_is_missing_or_damaged_has_not(path: Path, content: bytes | None) -> None:
    checksum = path.with_name("statistics.safetensors.sha256")
    checksum.unlink() if content is None else checksum.write_bytes(content)
    assert not has_checksum(path)


def test_a_file_that_is_not_there_has_not(tmp_path: Path) -> None:
    assert not has_checksum(tmp_path / "nothing")
