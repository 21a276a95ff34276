"""Validation before a merge starts: sources, weights, and whether tensors match."""

import math
from collections.abc import Mapping, Sequence

from mu_lightning.merging.engine.dtypes import is_float, promoted
from mu_lightning.merging.method import Method
from mu_lightning.utilities.errors import UserError

Signature = tuple[tuple[int, ...], str]


def check_plan(
    method: Method, weights: Mapping[str, float], names: Sequence[str], *, has_base: bool, has_statistics: bool
) -> None:
    """Validates a merge without its tensors.

    Raises:
        UserError: too few or too many sources for the method, weights that are not finite or don't match the sources,
            a missing base or missing statistics.
    """
    if len(names) < method.min_sources:
        raise UserError(f"{method.name} needs at least {_count(method.min_sources)}, got {len(names)}")
    if method.max_sources is not None and len(names) > method.max_sources:
        raise UserError(
            f"{method.name} accepts at most {_count(method.max_sources)}, got {len(names)}: {', '.join(names)}"
        )
    check_weights(weights, names)
    if method.needs_base and not has_base:
        raise UserError(
            f"{method.name} uses task vectors and needs the base model that the sources were fine-tuned from"
        )
    if method.needs_statistics and not has_statistics:
        raise UserError(f"{method.name} needs {method.needs_statistics} for every source")


def check_weights(weights: Mapping[str, float], names: Sequence[str]) -> None:
    """Raises UserError unless every source, and nothing else, has a finite weight."""
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
            raise UserError(f"the weight of {name} is {weights[name]}: expected a finite number")


def missing_from_base(source: str, tensors: Mapping[str, Signature], base: Mapping[str, Signature]) -> frozenset[str]:
    """Returns the tensors of a head that is missing from the base, such as ``classifier.*`` over a bare encoder.

    Args:
        source: name of a source.
        tensors: tensors of that source.
        base: tensors of the base; those that no source has (a head of its own) are ignored.

    Raises:
        UserError: the base lacks some tensors of a module, shares no tensor with the source, or a shape differs.
    """
    # Integer buffers are copied from the sources; the base need not have them.
    tensors = {name: signature for name, signature in tensors.items() if is_float(signature[1])}
    lacking = [name for name in tensors if name not in base]
    modules = {_module(name) for name in base}
    partial = [name for name in lacking if _module(name) in modules]
    if partial or len(lacking) == len(tensors):
        raise UserError(f"the base does not have the same tensors as {source}: {_listed(partial or lacking)} missing")
    common = [name for name in tensors if name in base]
    check_same_tensors({source: {name: tensors[name] for name in common}, "the base": {n: base[n] for n in common}})
    return frozenset(lacking)


def _module(name: str) -> str:
    """What a base has as a whole or not at all: the first part of a tensor's name, or an encoder's pooler."""
    words = name.split(".")
    return ".".join(words[:2]) if words[1:2] == ["pooler"] else words[0]


def check_same_tensors(models: Mapping[str, Mapping[str, Signature]]) -> None:
    """Checks that models have the same tensors: names, shapes and compatible dtypes.

    Args:
        models: model name -> tensor name -> (shape, dtype's name).

    Raises:
        UserError: the first difference; the error names the tensor and both models.
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
