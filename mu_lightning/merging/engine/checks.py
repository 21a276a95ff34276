"""What a merge refuses, in one clear line each, before it starts: sources, weights, tensors that don't fit together."""

import math
from collections.abc import Mapping, Sequence

from mu_lightning.merging.engine.dtypes import is_float, promoted
from mu_lightning.merging.method import Method
from mu_lightning.utilities.errors import UserError

Signature = tuple[tuple[int, ...], str]


def check_plan(
    method: Method, weights: Mapping[str, float], names: Sequence[str], *, has_base: bool, has_statistics: bool
) -> None:
    """Checks what was asked, without a tensor.

    Raises:
        UserError: too few or too many sources for the method, weights that are not finite or don't match the sources,
            no base or no statistics where the method needs them.
    """
    if len(names) < method.min_sources:
        raise UserError(f"{method.name} merges at least {_count(method.min_sources)}, {len(names)} given")
    if method.max_sources is not None and len(names) > method.max_sources:
        raise UserError(
            f"{method.name} merges at most {_count(method.max_sources)}, {len(names)} given: {', '.join(names)}"
        )
    check_weights(weights, names)
    if method.needs_base and not has_base:
        raise UserError(f"{method.name} works on task vectors and needs the base model that the sources started from")
    if method.needs_statistics and not has_statistics:
        raise UserError(f"{method.name} needs {method.needs_statistics} of every source")


def check_weights(weights: Mapping[str, float], names: Sequence[str]) -> None:
    """Raises UserError unless there is a finite weight for each source and none beside them."""
    lacking = [name for name in names if name not in weights]
    excess = [name for name in weights if name not in names]
    if lacking or excess:
        raise UserError(
            "the weights don't match the sources: "
            + "; ".join(
                ([f"no weight for {', '.join(lacking)}"] if lacking else [])
                + ([f"a weight but no model for {', '.join(excess)}"] if excess else [])
            )
        )
    for name in names:
        if not math.isfinite(weights[name]):
            raise UserError(f"the weight of {name} is {weights[name]}: it must be a finite number")


def lacking_in_base(source: str, tensors: Mapping[str, Signature], base: Mapping[str, Signature]) -> frozenset[str]:
    """The tensors of a head that the base lacks as a whole, such as ``classifier.*`` over a bare encoder.

    Args:
        source: the name of a source.
        tensors: that source's tensors.
        base: the base's tensors; those that no source has (its own head) are ignored.

    Raises:
        UserError: the base lacks part of what it has otherwise, has nothing in common with the source, or a shape
            differs.
    """
    # Whole-number buffers are copied from the sources, so it does not matter whether a base has them.
    tensors = {name: signature for name, signature in tensors.items() if is_float(signature[1])}
    lacking = [name for name in tensors if name not in base]
    parts = {name.partition(".")[0] for name in base}
    partial = [name for name in lacking if name.partition(".")[0] in parts]
    if partial or len(lacking) == len(tensors):
        raise UserError(f"the base does not have the same tensors as {source}: {_listed(partial or lacking)} missing")
    common = [name for name in tensors if name in base]
    check_same_tensors({source: {name: tensors[name] for name in common}, "the base": {n: base[n] for n in common}})
    return frozenset(lacking)


def check_same_tensors(models: Mapping[str, Mapping[str, Signature]]) -> None:
    """Checks that models have the same tensors: names, shapes, and dtypes of one kind.

    Args:
        models: model name -> tensor name -> (shape, dtype's name).

    Raises:
        UserError: the first difference found, with tensor and both models named.
    """
    (first, expected), *others = models.items()
    for other, found in others:
        missing = [name for name in expected if name not in found]
        extra = [name for name in found if name not in expected]
        if missing or extra:
            raise UserError(
                f"{other} does not have the same tensors as {first}: "
                + "; ".join(
                    ([f"{_listed(missing)} missing"] if missing else [])
                    + ([f"{_listed(extra)} not in {first}"] if extra else [])
                )
            )
        for name, (shape, dtype) in expected.items():
            other_shape, other_dtype = found[name]
            if shape != other_shape:
                raise UserError(f"{name} has shape {list(shape)} in {first} and {list(other_shape)} in {other}")
            if dtype != other_dtype and promoted(dtype, other_dtype) is None:
                raise UserError(f"{name} is {dtype} in {first} and {other_dtype} in {other}: they cannot be promoted")


def _count(number: int) -> str:
    return f"{number} source{'s' if number != 1 else ''}"


def _listed(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
