"""The description of a merge method: a pure function of tensors and weights, with its requirements."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    import torch

Granularity = Literal["elements", "rows", "tensor"]
Scope = Literal["tensor", "model"]


class LazySequence(Sequence[Any]):
    """A sequence of tensors or arrays that are loaded on access, to keep at most one in memory.

    Args:
        length: number of items.
        make: returns the item of an index.
    """

    def __init__(self, length: int, make: Callable[[int], Any]) -> None:
        self._length, self._make = length, make

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        chosen = range(self._length)[index]
        if isinstance(chosen, int):
            return self._make(chosen)
        return LazySequence(len(chosen), lambda place: self._make(chosen[place]))


@dataclass(frozen=True)
class Chunk:
    """A slice of one tensor, taken from every source: the unit that a method merges.

    Attributes:
        name: name of the tensor.
        sources: the slice of every source, all of one shape, in float32 (float64 for float64 models).
        weights: merge weights as given, one for each source.
        base: the slice of the base model, or None without a base.
        statistics: data-dependent statistics (Fisher diagonal, Gram matrix), one for each source; None where a source
            has none for this tensor.
        global_statistics: result of `Method.global_statistics` for this tensor or for the model, else None.
        random_integers: returns, for a source index, uniform random integers in [-32768, 32767], one for each element
            of the slice. They are drawn on the CPU, so that all devices agree, and seeded by run, tensor, source and
            position.
    """

    name: str
    sources: "Sequence[torch.Tensor]"
    weights: Sequence[float]
    base: "torch.Tensor | None" = None
    statistics: "Sequence[torch.Tensor | None] | None" = None
    global_statistics: Any = None
    random_integers: "Callable[[int], torch.Tensor] | None" = None


def base_of(chunk: Chunk) -> "torch.Tensor":
    """Returns the base slice of a chunk; raises UserError without a base."""
    if chunk.base is None:
        raise UserError(f"{chunk.name}: task vectors need a base model")
    return chunk.base


@dataclass(frozen=True)
class Chunks:
    """All chunks of a tensor or of a model: the input of `Method.global_statistics`.

    Attributes:
        map: applies a function to each chunk in parallel and yields the results in order. Rows that no source changed
            may be omitted.
        total: number of elements of one source, including omitted rows.
        sources: number of sources.
        only: returns the chunks of a subset of the sources, given by index.
    """

    map: Callable[[Callable[[Chunk], Any]], Iterator[Any]]
    total: int
    sources: int
    only: "Callable[[Sequence[int]], Chunks]"


@dataclass(frozen=True)
class Method:
    """A registered merge method.

    Attributes:
        name: name in the registry, the configs and on the command line.
        summary: one-line description.
        paper: authors, title and year of the paper.
        url: URL of the paper.
        combine: the method itself: maps a chunk and the parameters to the merged chunk, of the same shape.
        parameters: frozen dataclass of the parameters; its fields are made with `option`.
        granularity: how tensors are chunked: `elements`, whole `rows` (first dimension), or the whole `tensor`.
        global_statistics: computes statistics of a whole tensor or model before `combine` is called.
        statistics_scope: whether `global_statistics` is computed for each tensor or once for the model, given the
            parameters.
        tensors_in_memory: peak memory of a method that needs whole tensors, as a multiple of the tensor in the dtype of
            the computation (measured); 0 if it depends on the number of sources.
        uses_order_statistics: whether `global_statistics` computes order statistics, which keeps samples in memory.
        preserves_base_rows: whether a row that equals the base in all sources is merged to the base row and does not
            affect other rows. Such rows are skipped.
        row_independent: whether a row of the result depends on that row of the sources and statistics only.
        propagates_nonfinite: whether a NaN or an infinity in a source appears in the result at the same position. The
            engine then checks the result only.
        numpy_compatible: whether `combine` uses only operators that NumPy arrays share with tensors. It is then called
            with arrays where this avoids importing torch; the results are identical to the bit.
        needs_base: whether a base model is required for task vectors.
        may_use_base: whether a base model is optional.
        scalable: whether the engine scales the merged task vector by the parameter ``scale`` (λ), see
            `mu_lightning.merging.methods.shared.scaling`. Values other than 1 need a base model.
        takes_weights: whether the merge weights change the result.
        needs_statistics: description of the required data-dependent statistics; empty for none.
        random: whether the method is stochastic.
        order_invariant: whether the result is independent of the order of the sources (up to rounding).
        idempotent: whether equal sources (equal to the base, if there is one) are returned unchanged.
        min_sources: minimum number of sources.
        max_sources: maximum number of sources, None for no limit.
    """

    name: str
    summary: str
    paper: str
    url: str
    combine: "Callable[[Chunk, Any], torch.Tensor]"
    parameters: type
    granularity: Granularity = "elements"
    global_statistics: Callable[[Chunks, Any], Any] | None = None
    statistics_scope: Callable[[Any], Scope] = lambda parameters: "tensor"
    tensors_in_memory: float = 0.0
    uses_order_statistics: bool = False
    preserves_base_rows: bool = False
    row_independent: bool = False
    propagates_nonfinite: bool = False
    numpy_compatible: bool = False
    needs_base: bool = False
    may_use_base: bool = False
    scalable: bool = False
    takes_weights: bool = True
    needs_statistics: str = ""
    random: bool = False
    order_invariant: bool = True
    idempotent: bool = True
    min_sources: int = 1
    max_sources: int | None = None

    @property
    def supports_partial_rows(self) -> bool:
        """Whether frozen rows (equal to the base in all sources) can be omitted without changing the other rows.

        False for stochastic methods: their random masks depend on the position of a row in the tensor.
        """
        return (self.preserves_base_rows or self.row_independent) and not self.random

    @property
    def sees_base(self) -> bool:
        """Whether a given base model is used."""
        return self.needs_base or self.may_use_base
