"""Checks for NaN and infinity, for tensors and NumPy arrays alike, and errors that name the tensor."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mu_lightning.merging.method import Chunk
from mu_lightning.utilities.errors import NonFiniteError, UserError


def check_finite(tensor: Any, name: str, source: str) -> None:
    """Raises UserError if a tensor contains a NaN or an infinity."""
    if all_finite(tensor):
        return
    kind = "a NaN" if bool((tensor != tensor).any()) else "an infinity"
    raise NonFiniteError(f"{name} of {source} contains {kind}: the model is corrupt; retrain it or leave it out")


def check_sources(names: Sequence[str], chunk: Chunk) -> None:
    """Raises UserError if a chunk of a source or of the base contains a NaN or an infinity.

    Args:
        names: names of the sources.
        chunk: the chunk.
    """
    for name, source in zip(names, chunk.sources, strict=True):
        check_finite(source, chunk.name, name)
    if chunk.base is not None:
        check_finite(chunk.base, chunk.name, "the base")


def check_result(merged: Any, name: str, method: str) -> None:
    """Raises NonFiniteError if a chunk of a merged tensor contains a NaN or an infinity, though its sources do not.

    Args:
        merged: the chunk.
        name: name of the tensor.
        method: name of the merge method.
    """
    if not all_finite(merged):
        kind = "a NaN" if bool((merged != merged).any()) else "an infinity"
        raise not_finite(name, method, f"contains {kind}")


@contextmanager
def overflow_named(name: str, method: str) -> Iterator[None]:
    """Turns what arithmetic raises on values that are too large into a NonFiniteError.

    Args:
        name: name of the tensor.
        method: name of the merge method.
    """
    try:
        yield
    except OverflowError as error:
        raise not_finite(name, method, f"overflows ({error})") from error
    except RuntimeError as error:  # torch: a scalar too large for a dtype, or a decomposition that does not converge
        import torch

        known = "overflow" in str(error) or "converge" in str(error) or isinstance(error, torch.linalg.LinAlgError)
        if not known:
            raise
        raise not_finite(name, method, f"overflows ({str(error).splitlines()[0]})") from error


def not_finite(name: str, method: str, problem: str) -> NonFiniteError:
    """The error for a merged tensor that is not finite though its sources are."""
    return NonFiniteError(f"{name}: the result of {method} {problem}: its parameters or weights are too large")


def all_finite(tensor: Any) -> bool:
    """Whether all elements are finite."""
    # The sum is finite only if all elements are, and fast to compute; it may overflow, though.
    return math.isfinite(tensor.sum().item()) or bool((tensor - tensor == 0).all())


def unequal(tensor: str, dtype: str, source: str, other: str) -> UserError:
    """The error for a tensor that differs between two sources and is of a dtype that is not averaged."""
    return UserError(
        f"{tensor} ({dtype}) differs between {source} and {other}: tensors of this dtype are not averaged and must be "
        "equal"
    )


def too_large(tensor: str, dtype: str) -> NonFiniteError:
    """The error for a merged tensor that overflows the output dtype."""
    return NonFiniteError(f"{tensor} overflows {dtype}: use bfloat16")
