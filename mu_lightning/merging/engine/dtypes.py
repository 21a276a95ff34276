"""Dtypes by name, for code that describes tensors without importing torch."""

# Bytes of an element.
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
    """Whether the dtype (``float32``, ``bfloat16``, ``int64``) is a floating dtype."""
    return dtype.startswith(("float", "bfloat"))


def promoted(dtype: str, other: str) -> str | None:
    """Returns the promoted floating dtype of two dtypes, as torch does.

    None for integer dtypes, and for an 8-bit float with another dtype, which torch does not promote.
    """
    if not (is_float(dtype) and is_float(other)):
        return None
    if dtype == other:
        return dtype
    if 1 in (SIZES[dtype], SIZES[other]):
        return None
    if SIZES[dtype] == SIZES[other]:  # float16 has the precision, bfloat16 the range
        return "float32"
    return max(dtype, other, key=SIZES.__getitem__)
