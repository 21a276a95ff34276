"""Reads safetensors headers and writes safetensors files chunk by chunk.

The safetensors library writes tensors that are in memory only. The format is a header length of eight bytes, a JSON
header, and the bytes of the tensors without gaps (https://huggingface.co/docs/safetensors).
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError, safe_open

from mu_lightning.merging.engine.dtypes import BITS
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import check_not_lfs_pointer

if TYPE_CHECKING:
    import numpy as np

# Name of the dtype, and shape of a tensor.
Kind = tuple[str, tuple[int, ...]]

# Dtypes of the format.
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "F6_E2M3": "float6_e2m3",
    "F6_E3M2": "float6_e3m2",
    "F4": "float4_e2m1",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """Location of a tensor: file, dtype name (such as ``float32``), shape and byte range.

    Attributes:
        path: the file.
        dtype: name of the dtype.
        shape: shape of the tensor.
        start: its first byte in the file.
        stop: the byte after its last.
        rows: the order in which its rows are taken; None for that of the file.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    rows: tuple[int, ...] | None = None


def read_header(path: Path) -> dict[str, Entry]:
    """Reads the header of a safetensors file, which the safetensors library validates: tensor name -> location.

    Raises:
        UserError: the file is truncated, not a safetensors file, its tensors overlap or leave gaps, or a name is
            repeated.
    """
    check_not_lfs_pointer(path)
    try:
        with safe_open(path, framework="numpy"):  # reads and checks the header alone
            pass
    except (SafetensorError, OSError) as error:
        reason, size = str(error).removeprefix("Error while deserializing header: "), path.stat().st_size
        raise UserError(f"{path} ({size:,} bytes) is not a complete safetensors file: {reason}") from error
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_without_duplicates)
    except ValueError as error:
        raise UserError(f"{path} is not a valid safetensors file: {error}") from error
    header.pop("__metadata__", None)
    entries = {}
    for name, fields in header.items():
        if fields["dtype"] not in DTYPES:
            raise UserError(f"{path}: {name} is of dtype {fields['dtype']}, which is not supported")
        start, stop = fields["data_offsets"]
        kind, shape = DTYPES[fields["dtype"]], tuple(fields["shape"])
        entries[name] = Entry(path, kind, shape, 8 + length + start, 8 + length + stop)
    return entries


def check_length(entries: Iterable[Entry]) -> None:
    """Checks that the files of tensors still reach to their ends, before their mapped bytes are touched.

    The system ends a process that touches mapped bytes beyond the end of a file.

    Raises:
        UserError: a file was cut or removed.
    """
    for entry in entries:
        try:
            whole = entry.path.stat().st_size >= entry.stop
        except FileNotFoundError:
            whole = False
        if not whole:
            raise UserError(f"{entry.path} was cut or removed while it was read: start again once it is whole")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise ValueError(f"the name '{twice}' is repeated in its header")
    return names


def tensor_bytes(tensor: Kind) -> int:
    """Number of bytes of a tensor."""
    dtype, shape = tensor
    return BITS[dtype] * math.prod(shape) // 8


def layout(tensors: Mapping[str, Kind]) -> list[str]:
    """Order of the tensors in a file: wide dtypes first, which keeps all tensors aligned."""
    return sorted(tensors, key=lambda name: (-BITS[tensors[name][0]], name))


def write_header(file: BinaryIO, tensors: Mapping[str, Kind]) -> None:
    """Writes the header of a file; the tensors must follow in the order of `layout`."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in layout(tensors):
        dtype, shape = tensors[name]
        stop = at + tensor_bytes(tensors[name])
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [at, stop]}
        at = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)


def write_chunks(file: BinaryIO, chunks: "Iterable[np.ndarray]") -> None:
    """Writes contiguous arrays one after another."""
    for chunk in chunks:
        if chunk.size:
            file.write(chunk.data)
