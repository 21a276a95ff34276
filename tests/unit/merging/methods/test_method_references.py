"""Each method against a naive form of its paper's formula over whole vectors in float64, written for this test."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mu_lightning.merging.engine import slicing
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.methods.della import keep_probabilities
from mu_lightning.merging.methods.shared.random_masks import random_int16
from mu_lightning.utilities.errors import UserError

NAMES = ["a", "b", "c"]
WEIGHTS = dict(zip(NAMES, (0.5, 0.3, 0.2), strict=True))
GENERATOR = torch.Generator().manual_seed(2)
BASE = {"m": torch.randn(14, 9, generator=GENERATOR), "v": torch.randn(11, generator=GENERATOR)}
SOURCES = {
    name: {key: tensor + 0.2 * torch.randn(tensor.shape, generator=GENERATOR) for key, tensor in BASE.items()}
    for name in NAMES
}
TAUS = {key: np.stack([(SOURCES[n][key] - BASE[key]).double().numpy() for n in NAMES]) for key in BASE}
W = np.array(list(WEIGHTS.values()))
Formula = Callable[[str], np.ndarray]


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicing, "CHUNK_SIZE", 27)


def check(method: str, formula: Formula, *, base: bool = True, **settings: object) -> None:
    """Compares a merge with base + formula(key), or with formula(key) for a method without a base."""
    statistics = settings.pop("statistics", None)
    merged = merge_tensors(
        method, SOURCES, WEIGHTS, base=BASE if base else None, parameters=settings, statistics=statistics
    )
    for key in BASE:
        expected = formula(key) + (BASE[key].double().numpy() if base else 0)
        np.testing.assert_allclose(merged[key].double().numpy(), expected, rtol=0, atol=1e-5)


def weighted(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return sum(weight * vector for weight, vector in zip(weights, vectors, strict=True))


def test_task_arithmetic() -> None:
    check("task_arithmetic", lambda key: 0.4 * weighted(TAUS[key], 3 * W))
    check("task_arithmetic", lambda key: 2.0 * weighted(TAUS[key], W), scaling=2.0, weighting="mean")


def kept_of(vector: np.ndarray, share: float) -> np.ndarray:
    order = np.argsort(-np.abs(vector).ravel())
    mask = np.zeros(vector.size, bool)
    mask[order[: int(share * vector.size)]] = True
    return np.where(mask.reshape(vector.shape), vector, 0)


def disjoint_mean(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    merged = np.zeros(vectors.shape[1:])
    for place in np.ndindex(*merged.shape):
        values = vectors[(slice(None), *place)]
        sign = 1 if (values * weights).sum() >= 0 else -1
        agree = np.sign(values) == sign
        if agree.any():
            merged[place] = (values * weights)[agree].sum() / weights[agree].sum()
    return merged


def test_ties_trims_the_whole_model_or_each_tensor() -> None:
    check(
        "ties",
        lambda key: disjoint_mean(np.stack([kept_of(t, 0.3) for t in TAUS[key]]), W),
        density=0.3,
        scope="tensor",
    )

    def whole(key: str) -> np.ndarray:
        flat = np.concatenate([TAUS[k].reshape(3, -1) for k in BASE], 1)
        trimmed = np.stack([kept_of(vector, 0.3) for vector in flat])
        parts = dict(zip(BASE, np.split(trimmed, [BASE["m"].numel()], 1), strict=True))
        return disjoint_mean(parts[key].reshape(TAUS[key].shape), W)

    check("ties", whole, density=0.3)


def test_dare_drops_and_rescales() -> None:
    big = {"m": torch.zeros(300, 300)}
    source = {"m": torch.ones(300, 300)}
    merged = merge_tensors(
        "dare_linear", {"a": source}, {"a": 1.0}, base=big, parameters={"density": 0.3, "scaling": 1}
    )
    values = merged["m"]
    torch.testing.assert_close(values.unique(), torch.tensor([0.0, 1 / 0.3]), rtol=1e-4, atol=0)
    assert values.mean().item() == pytest.approx(1, abs=0.03)
    check("dare_linear", lambda key: 0.4 * weighted(TAUS[key], 3 * W), density=1.0)
    check(
        "dare_ties",
        lambda key: disjoint_mean(np.stack([kept_of(t, 0.2) for t in TAUS[key]]), W),
        density=1.0,
        scope="tensor",
    )


def kept_by_draws(key: str, source: str, chance: np.ndarray | float) -> np.ndarray:
    """1 where the draws that belong to run 0, tensor and source keep an element."""
    shape = BASE[key].shape
    drawn = random_int16(0, shape.numel(), 0, key, source).numpy()
    return ((drawn.reshape(shape).astype(np.float64) + 2**15) / 2**16 < chance).astype(np.float64)


def test_dare_and_della_against_their_formulas_with_the_same_draws() -> None:
    def dropped(key: str) -> np.ndarray:
        return np.stack([kept_by_draws(key, n, 0.7) * t / 0.7 for n, t in zip(NAMES, TAUS[key], strict=True)])

    check("dare_linear", lambda key: 0.4 * weighted(dropped(key), 3 * W), density=0.7)
    check("dare_ties", lambda key: disjoint_mean(dropped(key), W), density=0.7, trim=1.0)
    check(
        "dare_ties",
        lambda key: disjoint_mean(np.stack([kept_of(t, 0.2) for t in dropped(key)]), W),
        density=0.7,
        scope="tensor",
    )

    def sampled(key: str) -> np.ndarray:
        found = []
        for name, tau in zip(NAMES, TAUS[key], strict=True):
            ranks = np.abs(tau).argsort(-1).argsort(-1)
            chance = 0.6 - 0.1 + 0.2 * ranks / (tau.shape[-1] - 1)
            found.append(kept_by_draws(key, name, chance) * tau / chance)
        return np.stack(found)

    check("della_linear", lambda key: 0.4 * weighted(sampled(key), 3 * W), density=0.6)
    check("della", lambda key: disjoint_mean(sampled(key), W), density=0.6)


def test_draws_depend_on_run_tensor_and_source_alone() -> None:
    merged = merge_tensors("dare_linear", SOURCES, WEIGHTS, base=BASE, parameters={"weighting": "mean"})
    alone = [
        merge_tensors("dare_linear", {n: SOURCES[n]}, {n: 1.0}, base=BASE, parameters={"weighting": "mean"})
        for n in NAMES
    ]
    for key in BASE:
        taus = np.stack([(each[key] - BASE[key]).double().numpy() for each in alone])
        np.testing.assert_allclose((merged[key] - BASE[key]).numpy(), weighted(taus, W), atol=1e-5)
    assert not np.array_equal(alone[0]["m"] == BASE["m"], alone[1]["m"] == BASE["m"])


def test_breadcrumbs() -> None:
    def crumbs(key: str) -> np.ndarray:
        vectors = []
        for tau in TAUS[key]:
            order = np.argsort(-np.abs(tau).ravel())
            outliers, kept = int(0.1 * tau.size), int(0.4 * tau.size)
            mask = np.zeros(tau.size, bool)
            mask[order[outliers : outliers + kept]] = True
            vectors.append(np.where(mask.reshape(tau.shape), tau, 0))
        return np.stack(vectors)

    check("breadcrumbs", lambda key: 0.3 * weighted(crumbs(key), 3 * W), density=0.4, outliers=0.1)
    check("breadcrumbs_ties", lambda key: disjoint_mean(crumbs(key), W), density=0.4, outliers=0.1)


def test_breadcrumbs_without_outliers_keeps_small_tensors() -> None:
    merged = merge_tensors(
        "breadcrumbs",
        {"a": {"v": torch.ones(3)}},
        {"a": 1.0},
        base={"v": torch.zeros(3)},
        parameters={"density": 0.5, "outliers": 0.0, "scaling": 1.0},
    )
    assert merged["v"].count_nonzero() > 0


def test_della_keeps_large_elements_more_often() -> None:
    chance = keep_probabilities(torch.tensor([[0.1, -3.0, 2.0, 0.5, -1.0]]), 0.5, 0.2)
    torch.testing.assert_close(chance, torch.tensor([[0.4, 0.6, 0.55, 0.45, 0.5]]))
    base, source = {"m": torch.zeros(400, 50)}, {"m": torch.arange(1.0, 51).repeat(400, 1)}
    merged = merge_tensors("della_linear", {"a": source}, {"a": 1.0}, base=base, parameters={"scaling": 1.0})["m"]
    torch.testing.assert_close(merged.mean(0), source["m"][0], rtol=0.2, atol=0)
    share = (merged != 0).float().mean(0)
    assert share[:10].mean() < 0.45 < 0.55 < share[-10:].mean()
    check("della", lambda key: disjoint_mean(TAUS[key], W), density=1.0)
    with pytest.raises(UserError, match="window"):
        merge_tensors("della", SOURCES, WEIGHTS, base=BASE, parameters={"density": 0.95})


def test_sce() -> None:
    def formula(key: str) -> np.ndarray:
        taus, variance = TAUS[key], TAUS[key].var(0)
        threshold = np.sort(variance.ravel())[::-1][max(1, int(0.4 * variance.size)) - 1]
        taus = np.where(variance >= threshold, taus, 0)
        energy = (taus**2).reshape(3, -1).sum(1)
        sign = np.where(taus.sum(0) >= 0, 1, -1)
        return weighted(np.where(np.sign(taus) == sign, taus, 0), energy / energy.sum())

    check("sce", formula, density=0.4)


def test_magmax_and_expo_and_passthrough() -> None:
    def largest(key: str) -> np.ndarray:
        return np.take_along_axis(TAUS[key], np.abs(TAUS[key]).argmax(0)[None], 0)[0]

    check("magmax", lambda key: 0.5 * largest(key))
    check("expo", lambda key: 1.3 * weighted(TAUS[key], W), extrapolation=0.3)
    merged = merge_tensors("passthrough", {"a": SOURCES["a"]}, {"a": 1.0}, parameters={"scale": 2})
    assert torch.equal(merged["m"], 2 * SOURCES["a"]["m"])


def test_tall_mask() -> None:
    def formula(key: str) -> np.ndarray:
        total = weighted(TAUS[key], 3 * W)
        votes = sum(np.abs(tau) >= 0.4 * np.abs(total - tau) for tau in TAUS[key])
        return 0.3 * np.where(votes >= 2, total, 0)

    check("tall_mask", formula)


def fishers() -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(8)
    return {n: {key: torch.rand(tensor.shape, generator=generator) for key, tensor in BASE.items()} for n in NAMES}


def test_fisher() -> None:
    given = fishers()

    def formula(key: str, norms: list[float] | None = None) -> np.ndarray:
        scales = norms or [1.0] * 3
        values = [w * (given[n][key].double().numpy() / s + 1e-6) for w, n, s in zip(W, NAMES, scales, strict=True)]
        return sum(f * SOURCES[n][key].double().numpy() for f, n in zip(values, NAMES, strict=True)) / sum(values)

    check("fisher", formula, base=False, statistics=given)
    norms = [sum(float(f.double().square().sum()) for f in given[n].values()) ** 0.5 for n in NAMES]
    check("fisher", lambda key: formula(key, norms), base=False, statistics=given, normalize=True)
    with pytest.raises(UserError, match=r"v: every source needs a .*Fisher diagonal"):
        merge_tensors("fisher", SOURCES, WEIGHTS, statistics=given | {"b": {"m": given["b"]["m"]}})


def test_fisher_simple() -> None:
    def formula(key: str) -> np.ndarray:
        values = W * [SOURCES[n][key].double().norm().item() for n in NAMES]
        return weighted(np.stack([SOURCES[n][key].double().numpy() for n in NAMES]), values / values.sum())

    check("fisher_simple", formula, base=False)


def test_regmean_solves_the_regression() -> None:
    generator = torch.Generator().manual_seed(9)
    inputs = {n: torch.randn(40, 9, generator=generator) for n in NAMES}
    grams = {n: {"m": samples.T @ samples} for n, samples in inputs.items()}

    def formula(key: str) -> np.ndarray:
        if key == "v":
            return weighted(np.stack([SOURCES[n][key].double().numpy() for n in NAMES]), W)
        rows = np.concatenate([w**0.5 * inputs[n].double().numpy() for w, n in zip(W, NAMES, strict=True)])
        aims = [
            w**0.5 * (inputs[n].double() @ SOURCES[n][key].double().T).numpy() for w, n in zip(W, NAMES, strict=True)
        ]
        return np.linalg.lstsq(rows, np.concatenate(aims), rcond=None)[0].T

    check("regmean", formula, base=False, statistics=grams, reduction=1.0)
    check("regmean_plus", formula, base=False, statistics=grams, reduction=1.0)


def test_adamerging() -> None:
    learned = {n: {"m": torch.tensor(0.1 * i), "v": torch.tensor(0.2 * i)} for i, n in enumerate(NAMES)}
    check(
        "adamerging", lambda key: weighted(TAUS[key], np.arange(3) * (0.1 if key == "m" else 0.2)), statistics=learned
    )


def orthogonal(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix.T @ matrix)  # polar factor by another way than the method's
    return matrix @ vectors @ np.diag(values**-0.5) @ vectors.T


def test_tsv_m() -> None:
    def formula(key: str) -> np.ndarray:
        if key == "v":
            return weighted(TAUS[key], W)
        parts = [np.linalg.svd(3 * w * tau, full_matrices=False) for w, tau in zip(W, TAUS[key], strict=True)]
        left = orthogonal(np.concatenate([p[0][:, :3] for p in parts], 1))
        right = orthogonal(np.concatenate([p[2][:3] for p in parts]).T).T
        return left @ np.diag(np.concatenate([p[1][:3] for p in parts])) @ right

    check("tsv_m", formula)


def test_iso_c() -> None:
    def formula(key: str) -> np.ndarray:
        if key == "v":
            return weighted(TAUS[key], W)
        total = weighted(TAUS[key], 3 * W)
        return orthogonal(total) * np.linalg.svd(total, compute_uv=False).mean()

    check("iso_c", formula)
    check("iso_cts", formula, common=1.0)


def test_iso_cts() -> None:
    def formula(key: str) -> np.ndarray:
        if key == "v":
            return weighted(TAUS[key], W)
        parts = [3 * w * tau for w, tau in zip(W, TAUS[key], strict=True)]
        left, values, right = np.linalg.svd(sum(parts), full_matrices=False)
        lefts, rights, strengths = [left[:, :6]], [right[:6]], [values[:6]]  # 9 directions, a third of them their own
        for part in parts:
            rest = part - lefts[0] @ lefts[0].T @ part
            left, values, right = np.linalg.svd(rest, full_matrices=False)
            lefts.append(left[:, :1])
            rights.append(right[:1])
            strengths.append(values[:1])
        bases = orthogonal(np.concatenate(lefts, 1)), orthogonal(np.concatenate(rights).T).T
        return bases[0] @ bases[1] * np.concatenate(strengths).mean()

    check("iso_cts", formula, common=2 / 3)


def test_iso_cts_gives_every_source_directions_of_its_own() -> None:
    merged = merge_tensors("iso_cts", SOURCES, WEIGHTS, base=BASE, parameters={"common": 0.5})["m"] - BASE["m"]
    values = torch.linalg.svdvals(merged)
    torch.testing.assert_close(values, values.mean().expand_as(values), rtol=1e-4, atol=0)


def test_wudi_follows_adam_and_its_exact_form_is_the_minimum() -> None:
    taus = torch.tensor(TAUS["m"]) * torch.tensor(3 * W)[:, None, None]

    def loss(merged: torch.Tensor) -> torch.Tensor:
        return sum((((merged - tau) @ tau.T) ** 2).sum() / (tau**2).sum() for tau in taus)

    merged = taus.sum(0).clone().requires_grad_()
    optimizer = torch.optim.Adam([merged], lr=1e-3)
    for _ in range(50):
        optimizer.zero_grad()
        loss(merged).backward()
        optimizer.step()
    adam = merge_tensors("wudi", SOURCES, WEIGHTS, base=BASE, parameters={"iterations": 50, "learning_rate": 1e-3})
    torch.testing.assert_close(adam["m"] - BASE["m"], merged.detach().float(), rtol=0, atol=1e-5)
    exact = (
        merge_tensors("wudi", SOURCES, WEIGHTS, base=BASE, parameters={"solver": "exact"})["m"] - BASE["m"]
    ).double()
    assert loss(exact) < loss(merged)
    for seed in range(5):
        nudge = 1e-2 * torch.randn(exact.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        assert loss(exact) < loss(exact + nudge)


def test_a_head_that_the_base_lacks_is_averaged_and_part_of_one_is_refused() -> None:
    sources = {n: {"enc.w": SOURCES[n]["m"], "head.w": SOURCES[n]["v"]} for n in NAMES}
    sources = {n: state | {"enc.position_ids": torch.arange(3)} for n, state in sources.items()}
    base = {"enc.w": BASE["m"], "lm_head.w": torch.zeros(3)}
    merged = merge_tensors("task_arithmetic", sources, WEIGHTS, base=base)
    assert torch.equal(merged["head.w"], merge_tensors("linear", sources, WEIGHTS)["head.w"])
    for wrong, message in (
        ({"encoder.w": BASE["m"]}, "enc.w, head.w missing"),
        ({"enc.x": BASE["m"]}, "enc.w missing"),
        ({"enc.w": BASE["m"].T}, r"enc.w has shape \[14, 9\] in a and \[9, 14\] in the base"),
    ):
        with pytest.raises(UserError, match=message):
            merge_tensors("task_arithmetic", sources, WEIGHTS, base=wrong)
