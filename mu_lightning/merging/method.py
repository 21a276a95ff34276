"""What a merge method is: a pure function of tensors and weights, described so that programs and people can read it."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mu_lightning.errors import UserError, unknown

if TYPE_CHECKING:
    import torch

Granularity = Literal["elements", "rows", "tensor"]
Scope = Literal["tensor", "model"]


@dataclass(frozen=True)
class Piece:
    """What a method sees at a time: the same part of one tensor in every source.

    Attributes:
        name: the tensor's name.
        sources: that part of every source, of one shape, in float32 (float64 if the models are).
        weights: the sources' merge weights as they were given, in the same order.
        base: the same part of the base model, or None where there is no base.
        statistics: a statistic of every source (Fisher diagonal, Gram matrix), None where a source has none for this
            tensor.
        survey: what the method's `survey` returned for this tensor (or for the model), else None.
        draws: source index -> a whole number in -32768..32767 for each element of the part, all equally likely, drawn
            on the CPU (so that every device sees the same) and seeded by run, tensor, source and part.
    """

    name: str
    sources: "Sequence[torch.Tensor]"
    weights: Sequence[float]
    base: "torch.Tensor | None" = None
    statistics: "Sequence[torch.Tensor | None] | None" = None
    survey: Any = None
    draws: "Callable[[int], torch.Tensor] | None" = None


@dataclass(frozen=True)
class View:
    """What a survey looks at: a whole tensor, or a whole model, in pieces.

    Attributes:
        map: yields what a function makes of each piece, in order; several are worked on at a time. Rows that no source
            changed may be left out.
        total: how many elements a source has in all, those in left-out rows too.
        sources: how many sources there are.
    """

    map: Callable[[Callable[[Piece], Any]], Iterator[Any]]
    total: int
    sources: int


@dataclass(frozen=True)
class Method:
    """A merge method, as the registry knows it.

    Attributes:
        name: what it is called in the registry, the configs and on the command line.
        summary: one line for a stranger.
        paper: the paper's authors, title and year.
        url: where the paper is.
        combine: the method itself: a piece and the parameters to the merged piece, of the same shape.
        parameters: a frozen dataclass whose fields, made by `option`, are the method's parameters.
        granularity: what a piece may be: any `elements`, whole `rows` (along the first dimension), or a whole `tensor`.
        survey: statistics over a whole tensor or model that `combine` needs first.
        survey_scope: what `survey` looks at, given the parameters.
        local: whether an element where all sources equal the base comes out as the base whatever the others are; then
            rows that no source changed are not even computed.
        needs_base: whether task vectors are taken against a base model.
        may_use_base: whether it uses a base where one is given, and does without where not.
        takes_weights: whether the sources' weights change the result.
        needs_statistics: what the caller must compute from data first, in words; empty for none.
        random: whether it draws random numbers.
        equivariant: whether the order of the sources is without effect (to rounding).
        keeps_equal: whether sources that are all equal (and equal to the base, where there is one) come back unchanged.
        min_sources: the fewest sources it merges.
        max_sources: the most sources it merges, None for any number.
    """

    name: str
    summary: str
    paper: str
    url: str
    combine: "Callable[[Piece, Any], torch.Tensor]"
    parameters: type
    granularity: Granularity = "elements"
    survey: Callable[[View, Any], Any] | None = None
    survey_scope: Callable[[Any], Scope] = lambda parameters: "tensor"
    local: bool = False
    needs_base: bool = False
    may_use_base: bool = False
    takes_weights: bool = True
    needs_statistics: str = ""
    random: bool = False
    equivariant: bool = True
    keeps_equal: bool = True
    min_sources: int = 1
    max_sources: int | None = None

    @property
    def sees_base(self) -> bool:
        """Whether a base that is given is used at all."""
        return self.needs_base or self.may_use_base


def option(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    kind: type | None = None,
) -> Any:
    """A field of a method's parameters: its default, what it means, and which values it may take.

    Args:
        default: the value without the parameter; its type is the parameter's unless `kind` is given.
        help: what it means.
        low: the least value allowed.
        high: the greatest value allowed.
        choices: the only values allowed.
        kind: the type, where the default is None.
    """
    kind = kind or type(default)
    return dataclasses.field(
        default=default, metadata={"help": help, "low": low, "high": high, "choices": choices, "kind": kind}
    )


@dataclass(frozen=True)
class NoParameters:
    """The parameters of a method that has none."""


def build_parameters(method: Method, given: Mapping[str, Any] | None) -> Any:
    """The method's parameters with `given` in place of defaults; texts, as from a command line, are read as their type.

    Raises:
        UserError: an unknown parameter (with the nearest known ones), or a value of the wrong type or out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(method.parameters)}
    values = {}
    for name, value in (given or {}).items():
        key = name.replace("-", "_")
        if key not in fields:
            if not fields:
                raise UserError(f"{method.name} has no parameter '{name}': it has none at all")
            raise unknown(f"parameter of {method.name}", name, fields)
        values[key] = _validated(f"{method.name}'s {key}", value, fields[key])
    return method.parameters(**values)


def _validated(what: str, value: Any, field: "dataclasses.Field[Any]") -> Any:
    meta = field.metadata
    if value is None and field.default is None:
        return None
    value = _read(what, value, meta["kind"])
    low, high, choices = meta["low"], meta["high"], meta["choices"]
    if choices is not None and value not in choices:
        raise unknown(f"value of {what}", str(value), choices)
    if isinstance(value, float) and value != value:
        raise UserError(f"{what} is not a number")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = " and ".join(
            ([f"at least {low:g}"] if low is not None else []) + ([f"at most {high:g}"] if high is not None else [])
        )
        raise UserError(f"{what} is {value:g}: it must be {bounds}")
    return value


def _read(what: str, value: Any, kind: type) -> Any:
    if kind is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    if kind in (int, float) and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
            if kind is float or number == int(number):
                return kind(number)
        except (ValueError, OverflowError):
            pass
    raise UserError(f"{what} is {value!r}: it must be of type {kind.__name__}")
