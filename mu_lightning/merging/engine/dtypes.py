"""Dtypes by name, for code that describes tensors without importing torch."""

# Bits of an element, for every dtype of the safetensors format; names are torch's where it has the dtype.
BITS = {
    "float64": 64,
    "float32": 32,
    "float16": 16,
    "bfloat16": 16,
    "float8_e4m3fn": 8,
    "float8_e4m3fnuz": 8,
    "float8_e5m2": 8,
    "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8,
    "float6_e2m3": 6,
    "float6_e3m2": 6,
    "float4_e2m1": 4,
    "complex64": 64,
    "int64": 64,
    "int32": 32,
    "int16": 16,
    "int8": 8,
    "uint64": 64,
    "uint32": 32,
    "uint16": 16,
    "uint8": 8,
    "bool": 8,
}
# What is averaged. Other tensors are integers, complex numbers, or quantized values and their scales.
_MERGED = {
    *("float64", "float32", "float16", "bfloat16"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
}


def is_float(dtype: str) -> bool:
    """Whether tensors of the dtype (``float32``, ``bfloat16``, ``int64``) are averaged; others must be equal."""
    return dtype in _MERGED


def promoted(dtype: str, other: str) -> str | None:
    """Returns the promoted floating dtype of two dtypes, as torch does.

    None for other dtypes, and for an 8-bit float with another dtype, which torch does not promote.
    """
    if not (is_float(dtype) and is_float(other)):
        return None
    if dtype == other:
        return dtype
    if 8 in (BITS[dtype], BITS[other]):
        return None
    if BITS[dtype] == BITS[other]:  # float16 has the precision, bfloat16 the range
        return "float32"
    return max(dtype, other, key=BITS.__getitem__)
