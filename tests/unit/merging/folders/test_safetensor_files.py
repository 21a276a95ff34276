"""Headers of safetensors files: every dtype of the format is known, and what the library refuses is refused."""

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError, safe_open

from mu_lightning.merging.engine.dtypes import BITS, is_float
from mu_lightning.merging.folders.safetensor_files import CODES, DTYPES, read_header
from mu_lightning.merging.folders.streaming import merge_folders
from mu_lightning.utilities.errors import UserError

GOOD = {
    "w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]},
    "b": {"dtype": "F32", "shape": [4], "data_offsets": [64, 80]},
}
TEXT = json.dumps(GOOD).encode()


def write(path: Path, header: bytes, data: bytes) -> Path:
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    return path


def test_every_dtype_of_the_format_is_known(tmp_path: Path) -> None:
    path = write(tmp_path / "x", json.dumps({"a": {**GOOD["w"], "dtype": "?"}}).encode(), bytes(64))
    with pytest.raises(SafetensorError) as caught, safe_open(path, "np"):
        pass
    assert set(re.findall(r"`([A-Z0-9_]+)`", str(caught.value))) - {"?"} == set(DTYPES)
    assert set(CODES) == set(BITS)


@pytest.mark.parametrize("code", DTYPES)
def test_a_tensor_of_any_dtype_is_merged_or_copied(code: str, tmp_path: Path) -> None:
    size = 4 * BITS[DTYPES[code]] // 8
    tensors = {"a": {"dtype": code, "shape": [4], "data_offsets": [0, size]}}
    tensors["b"] = {"dtype": "F32", "shape": [1], "data_offsets": [size, size + 4]}
    data = bytes(range(1, size + 1)) if not is_float(DTYPES[code]) else bytes(size)
    folders = {}
    for name in ("one", "two"):
        folders[name] = tmp_path / name
        folders[name].mkdir()
        (folders[name] / "config.json").write_text("{}")
        write(folders[name] / "model.safetensors", json.dumps(tensors).encode(), data + struct.pack("<f", 1.5))
    out = merge_folders("linear", folders, dict.fromkeys(folders, 0.5), tmp_path / "out", progress=False)
    entry = read_header(out / "model.safetensors")["a"]
    assert (entry.dtype, entry.shape) == (DTYPES[code], (4,))
    assert entry.path.read_bytes()[entry.start : entry.stop] == data
    write(folders["two"] / "model.safetensors", json.dumps(tensors).encode(), data[::-1][1:] + bytes(5))
    if not is_float(DTYPES[code]) and size > 1:
        with pytest.raises(UserError, match=rf"a \({DTYPES[code]}\) differs between one and two: .*not averaged"):
            merge_folders("linear", folders, dict.fromkeys(folders, 0.5), tmp_path / "out2", progress=False)


BROKEN: dict[str, bytes] = {
    "an infinite shape": TEXT.replace(b"[4, 4]", b"[Infinity, 4]"),
    "an infinite offset": TEXT.replace(b"[0, 64]", b"[1e999, 64]"),
    "a shape of fractions": TEXT.replace(b"[4, 4]", b"[4.9, 4.9]"),
    "a shape of texts": TEXT.replace(b"[4, 4]", b'["4", "4"]'),
    "a shape that is a text": TEXT.replace(b"[4, 4]", b'"44"'),
    "offsets of fractions": TEXT.replace(b"[0, 64]", b"[0.5, 64.5]"),
    "offsets as an object": TEXT.replace(b"[0, 64]", b'{"0": 0, "64": 64}'),
    "negative offsets": TEXT.replace(b"[0, 64]", b"[-64, 0]"),
    "utf-16": json.dumps(GOOD).encode("utf-16"),
    "a byte-order mark": b"\xef\xbb\xbf" + TEXT,
    "metadata that are a list": TEXT[:-1] + b', "__metadata__": [1]}',
    "deep nesting": b"[" * 100_000,
    "deep metadata": TEXT[:-1] + b', "__metadata__": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a name twice": TEXT[:-1] + b', "w": ' + json.dumps(GOOD["w"]).encode() + b"}",
    "a dtype that is none": TEXT.replace(b"F32", b"F33"),
    "a hole": TEXT.replace(b"[64, 80]", b"[68, 84]"),
    "no object": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_the_library_refuses_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", BROKEN[what], bytes(80))
    with pytest.raises(UserError, match=r"model\.safetensors .*is not a (complete|valid) safetensors file: ."):
        read_header(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not a complete safetensors file"),
        (b"\xff" * 8, "not a complete safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS pointer"),
    ],
)
def test_what_is_no_safetensors_file_at_all_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=expected):
        read_header(tmp_path / "model.safetensors")


def test_the_sound_one_is_read(tmp_path: Path) -> None:
    entries: dict[str, Any] = read_header(write(tmp_path / "x", TEXT, bytes(80)))
    assert [(name, entry.shape, entry.stop - entry.start) for name, entry in entries.items()] == [
        ("w", (4, 4), 64),
        ("b", (4,), 16),
    ]
