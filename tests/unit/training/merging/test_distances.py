"""Distances between members: a naive loop gives the same, equal models are at 0, scale doesn't matter."""

import math

import pytest
import torch
from torch import Tensor

from mu_lightning.training.merging.distances import mean_distance, pairwise_distances

BASE = {"a": torch.zeros(2, 2), "b": torch.zeros(3), "ids": torch.arange(4)}


def model(*values: float) -> dict[str, Tensor]:
    flat = torch.tensor(values, dtype=torch.float32)
    return {"a": flat[:4].reshape(2, 2), "b": flat[4:], "ids": torch.arange(4)}


def test_it_is_the_euclidean_distance_of_task_vectors_over_their_mean_norm() -> None:
    base = {"a": torch.ones(2, 2), "b": torch.ones(3), "ids": torch.arange(4)}
    random = torch.Generator().manual_seed(0)
    models = {name: model(*torch.randn(7, generator=random).tolist()) for name in "xyz"}
    found = pairwise_distances(models, base)
    assert list(found) == [("x", "y"), ("x", "z"), ("y", "z")]
    for (one, other), distance in found.items():
        vectors = [[float(v) - 1 for key in ("a", "b") for v in models[name][key].flatten()] for name in (one, other)]
        apart = math.sqrt(sum((p - q) ** 2 for p, q in zip(*vectors, strict=True)))
        norms = [math.sqrt(sum(v * v for v in vector)) for vector in vectors]
        assert distance == pytest.approx(apart / (sum(norms) / 2), rel=1e-5)
    assert mean_distance(found) == pytest.approx(sum(found.values()) / 3)


def test_equal_models_are_at_exactly_zero_opposite_ones_at_two_and_orthogonal_ones_at_root_two() -> None:
    one = model(0.1, 0.2, 0.3, 0.7, 0.9, 1.1, 1.3)
    opposite = {key: -value for key, value in one.items()}
    assert pairwise_distances({"x": one, "y": {**one}}, BASE) == {("x", "y"): 0.0}
    assert pairwise_distances({"x": one, "y": opposite}, BASE)["x", "y"] == pytest.approx(2)
    left, right = model(1, 0, 0, 0, 0, 0, 0), model(0, 0, 0, 0, 0, 1, 0)
    assert pairwise_distances({"x": left, "y": right}, BASE)["x", "y"] == pytest.approx(math.sqrt(2))


def test_models_that_have_not_moved_from_the_base_are_at_zero_and_one_alone_has_no_mean_distance() -> None:
    assert pairwise_distances({"x": BASE, "y": BASE}, BASE) == {("x", "y"): 0.0}
    assert mean_distance(pairwise_distances({"x": model(*range(7))}, BASE)) == 0.0
