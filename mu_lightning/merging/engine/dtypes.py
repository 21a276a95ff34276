"""Tensors' dtypes by their names, so that what only describes tensors need not import torch."""

# Name -> bytes of an element.
SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}


def is_float(dtype: str) -> bool:
    """Whether a dtype of that name (``float32``, ``bfloat16``, ``int64``) can be averaged."""
    return dtype.startswith(("float", "bfloat"))


def promoted(dtype: str, other: str) -> str | None:
    """The narrowest floating dtype that holds the values of both, as torch has it.

    None where there is none: torch has none for an 8-bit float and another, and whole numbers are not averaged.
    """
    if not (is_float(dtype) and is_float(other)):
        return None
    if dtype == other:
        return dtype
    if 1 in (SIZES[dtype], SIZES[other]):
        return None
    if SIZES[dtype] == SIZES[other]:  # the two of 16 bits: one has the range, the other the precision
        return "float32"
    return max(dtype, other, key=SIZES.__getitem__)
