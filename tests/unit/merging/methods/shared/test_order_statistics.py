"""The k-th largest magnitude in chunks, against a full sort."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from mu_lightning.merging.method import Chunk, Chunks
from mu_lightning.merging.methods.shared import order_statistics as selection
from mu_lightning.merging.methods.shared.order_statistics import each_kth_largest, kth_largest


def view_of(vectors: list[torch.Tensor], size: int, total: int | None = None) -> Chunks:
    def chunks(function: Callable[[Chunk], Any]) -> Iterator[Any]:
        for start in range(0, len(vectors[0]), size):
            yield function(Chunk("x", [vector[start : start + size] for vector in vectors], [1.0] * len(vectors)))

    def only(chosen: Sequence[int]) -> Chunks:
        return view_of([vectors[index] for index in chosen], size, total)

    return Chunks(chunks, total or len(vectors[0]), len(vectors), only)


def sources(chunk: Chunk) -> Sequence[torch.Tensor]:
    return chunk.sources


def vectors(kind: str, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    values = torch.randn(count, generator=generator)
    if kind == "mostly zeros":
        return values * (torch.rand(count, generator=generator) < 0.03)
    if kind == "many ties":
        return (values * 4).round() / 4
    if kind == "sorted":
        return values.sort().values
    return values


@pytest.mark.parametrize("kind", ["normal", "mostly zeros", "many ties", "sorted"])
@pytest.mark.parametrize("count", [1, 999, 200_000])
def test_it_equals_a_full_sort(kind: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 2**10)
    vector = vectors(kind, count)
    full = vector.abs().sort(descending=True).values
    ranks = sorted({1, max(1, count // 50), max(1, count // 5), max(1, count // 2), max(1, count - 3), count})
    found = kth_largest(view_of([vector, -vector], 7_001), sources, [ranks, ranks[:1]])
    assert found == [[full[rank - 1].item() for rank in ranks], [full[0].item()]]


@pytest.mark.parametrize("sampled", [1e-9, 1e9])
def test_a_bracket_that_misses_is_widened(sampled: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 100)
    vector = vectors("normal", 5_000)
    for start in range(0, 5_000, 600):
        vector[start : start + 600 : 50] = sampled  # every element that the sample sees
    full = vector.abs().sort(descending=True).values
    ranks = [1, 50, 2500, 4999]
    assert kth_largest(view_of([vector], 600), sources, [ranks]) == [[full[rank - 1].item() for rank in ranks]]


def test_left_out_elements_are_zeros() -> None:
    vector = vectors("normal", 100)
    assert kth_largest(view_of([vector], 30, 1000), sources, [[0, 101, 150]]) == [[float("inf"), 0.0, 0.0]]


def test_zeros_are_counted_but_never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 2**10)
    kept = []
    add = selection._Search.add
    monkeypatch.setattr(
        selection._Search, "add", lambda self, above, inside: (kept.append(inside), add(self, above, inside))
    )
    vector = vectors("mostly zeros", 200_000)
    ranks = [1, 4_000, 50_000, 199_999]
    full = vector.abs().sort(descending=True).values
    assert kth_largest(view_of([vector], 7_001), sources, [ranks]) == [[full[rank - 1].item() for rank in ranks]]
    assert kept
    assert all((values > 0).all() for values in kept)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_many_sources_are_looked_at_a_few_at_a_time(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SAMPLE", 2**10)
    given = [vectors("normal", 20_000).roll(index) * (index + 1) for index in range(count)]
    together = []

    def of(chunk: Chunk, chosen: Sequence[int]) -> Sequence[torch.Tensor]:
        assert len(chosen) == len(chunk.sources)
        together.append(len(chosen))
        return [source * index for index, source in zip(chosen, chunk.sources, strict=True)]

    ranks = [[1 + index, 500] for index in range(count)]
    full = [(index * vector).abs().sort(descending=True).values for index, vector in enumerate(given)]
    found = each_kth_largest(view_of(given, 3_000), of, ranks)
    assert found == [[values[rank - 1].item() for rank in own] for values, own in zip(full, ranks, strict=True)]
    assert max(together) <= selection.AT_ONCE


def test_a_tensor_of_millions_equals_a_full_sort() -> None:
    count = 6_000_000
    vector = torch.randn(count, generator=torch.Generator().manual_seed(1)) * 1e-3
    ranks = [1, 60_000, 1_200_000, 5_399_999, count]
    full = vector.abs().sort(descending=True).values
    assert count > 4 * selection.SAMPLE
    assert kth_largest(view_of([vector], 2**17), sources, [ranks]) == [[full[rank - 1].item() for rank in ranks]]
