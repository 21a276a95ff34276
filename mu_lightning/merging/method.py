"""What a merge method is: a pure function of tensors and weights, described so that programs and people can read it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    import torch

Granularity = Literal["elements", "rows", "tensor"]
Scope = Literal["tensor", "model"]


class OneByOne(Sequence[Any]):
    """Tensors, or arrays, that are made when they are asked for, so that no more than one need be held.

    Args:
        length: how many there are.
        make: index -> the tensor.
    """

    def __init__(self, length: int, make: Callable[[int], Any]) -> None:
        self._length, self._make = length, make

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        chosen = range(self._length)[index]
        if isinstance(chosen, int):
            return self._make(chosen)
        return OneByOne(len(chosen), lambda place: self._make(chosen[place]))


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


def base_of(piece: Piece) -> "torch.Tensor":
    """The base's part of a piece; raises UserError where there is none."""
    if piece.base is None:
        raise UserError(f"{piece.name}: task vectors need a base model")
    return piece.base


@dataclass(frozen=True)
class View:
    """What a survey looks at: a whole tensor, or a whole model, in pieces.

    Attributes:
        map: yields what a function makes of each piece, in order; several are worked on at a time. Rows that no source
            changed may be left out.
        total: how many elements a source has in all, those in left-out rows too.
        sources: how many sources there are.
        only: the same of some of the sources, by their indices.
    """

    map: Callable[[Callable[[Piece], Any]], Iterator[Any]]
    total: int
    sources: int
    only: "Callable[[Sequence[int]], View]"


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
        tensors_held: of a method that sees whole tensors, how many of that size it holds at most, in the dtype of the
            arithmetic; measured. 0 if that depends on the sources.
        selects: whether its survey looks for ranks, and so keeps samples.
        local: whether a row in which all sources equal the base comes out as the base and changes no other; then such
            rows are not even computed.
        separate: whether a row of the result follows from that row of the sources, and of their statistics, alone.
        spreads: whether a NaN or an infinity in any source makes the result so too at the same place; then the result
            alone is looked at, and the sources only to name the one.
        operators: whether `combine` does nothing with a tensor that numpy's arrays cannot do too: operators. It is then
            given arrays where that saves importing torch, and gives the same to the bit.
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
    tensors_held: float = 0.0
    selects: bool = False
    local: bool = False
    separate: bool = False
    spreads: bool = False
    operators: bool = False
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
    def bears_left_out(self) -> bool:
        """Whether it merges the other rows all the same where rows in which all sources equal the base are left out.

        Not so where draws hang on a row's place in the tensor.
        """
        return (self.local or self.separate) and not self.random

    @property
    def sees_base(self) -> bool:
        """Whether a base that is given is used at all."""
        return self.needs_base or self.may_use_base
