"""Bootstrap intervals: by utterance over all targets at once, and by seed above that."""

import numpy as np
import pytest
from scipy import stats

from mu_lightning.evaluation.metrics import bootstrap_interval
from mu_lightning.evaluation.statistics.resampling import Bootstrap, Correctness, paired_bootstrap


def marks(right: np.ndarray, prefix: str = "") -> Correctness:
    return Correctness(np.array([f"{prefix}{row}" for row in range(len(right))]), np.asarray(right, dtype=float))


def coins(generator: np.random.Generator, chance: float, rows: int = 200) -> Correctness:
    return marks(generator.random(rows) < chance)


def test_the_interval_of_one_classifier_is_the_one_that_the_scores_carry() -> None:
    one = marks(np.arange(500) < 300)
    low, high = Bootstrap({"one": {0: one}}, draws=4000).interval(["one"])
    assert (low, high) == pytest.approx(bootstrap_interval(one.right == 1, draws=4000), abs=0.005)


def test_the_paired_bootstrap_agrees_with_scipys() -> None:
    generator = np.random.default_rng(0)
    first, second = coins(generator, 0.7), coins(generator, 0.6)
    found = paired_bootstrap(first, second, draws=4000)
    reference = stats.bootstrap(
        (first.right - second.right,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert found.value == pytest.approx(first.accuracy - second.accuracy)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.01)
    assert found.certain == (found.low > 0 or found.high < 0)


def test_a_difference_is_paired_so_that_what_both_get_wrong_adds_nothing() -> None:
    generator = np.random.default_rng(0)
    first = coins(generator, 0.5, 1000)
    second = marks(np.where(np.arange(1000) < 20, 0, first.right))  # worse on a few rows, equal elsewhere
    found = paired_bootstrap(first, second)
    assert found.high - found.low < 0.02 < np.subtract(*Bootstrap({"a": {0: first}}).interval(["a"])[::-1])


def test_classifiers_of_different_rows_are_not_paired() -> None:
    with pytest.raises(ValueError, match="different rows"):
        paired_bootstrap(marks(np.ones(3)), marks(np.ones(3), "other/"))


def test_parallel_targets_are_no_new_evidence_and_other_targets_are() -> None:
    right = np.random.default_rng(0).random(200) < 0.6
    alone = Bootstrap({("m", "t0"): {0: marks(right)}})
    parallel = Bootstrap({("m", f"t{place}"): {0: marks(right)} for place in range(9)})
    apart = Bootstrap({("m", f"t{place}"): {0: marks(right, f"{place}/")} for place in range(9)})

    def width(bootstrap: Bootstrap, count: int) -> float:
        low, high = bootstrap.interval([("m", f"t{place}") for place in range(count)])
        return high - low

    assert width(parallel, 9) == pytest.approx(width(alone, 1))
    assert width(apart, 9) == pytest.approx(width(alone, 1) / 3, rel=0.15)


def test_nine_in_ten_intervals_or_more_hold_the_truth_where_locales_share_hard_utterances() -> None:
    generator = np.random.default_rng(0)
    held, trials, targets = 0, 120, 6
    for _ in range(trials):
        hard = generator.normal(size=150)  # an utterance's difficulty is the same in every locale
        scored = {}
        for target in range(targets):
            for method, lift in (("a", 0.5), ("b", 0.0)):
                chance = stats.norm.cdf(hard + lift)
                scored[method, target] = {0: marks(generator.random(150) < chance)}
        truth = stats.norm.cdf(0.5 / np.sqrt(2)) - 0.5
        found = Bootstrap(scored, draws=300).difference([(("a", t), ("b", t)) for t in range(targets)])
        held += found.low <= truth <= found.high
    assert 0.89 <= held / trials <= 0.99


def test_a_seed_level_widens_the_interval_by_what_seeds_differ() -> None:
    rows = 2000
    right = np.random.default_rng(0).random(rows) < 0.5
    low, high = right.copy(), right.copy()
    low[:200], high[:200] = False, True  # two seeds, far apart
    one = Bootstrap({"m": {0: marks(low)}}).interval(["m"])
    two = Bootstrap({"m": {0: marks(low), 1: marks(high)}}).interval(["m"])
    accuracies = Bootstrap({"m": {0: marks(low), 1: marks(high)}}).accuracies
    assert accuracies["m"] == pytest.approx((low.mean() + high.mean()) / 2)
    assert two[1] - two[0] > 2 * (one[1] - one[0])
    # Both methods with the same seeds are drawn the same seeds: a constant lead stays a constant lead.
    both = {name: {0: marks(low), 1: marks(high)} for name in "ab"}
    assert Bootstrap(both).difference([("a", "b")]).high == 0.0


def test_fractions_and_rows_that_only_some_targets_have_are_taken() -> None:
    whole = marks(np.array([1.0, 0.5, 0.0, 1.0]))
    part = Correctness(whole.ids[:2], np.array([1.0, 1.0]))
    found = Bootstrap({"whole": {0: whole}, "part": {0: part}}, draws=500)
    assert found.accuracies == {"whole": 0.625, "part": 1.0}
    assert found.interval(["part"]) == (1.0, 1.0)
    assert "whole" in found
    assert "other" not in found


def test_equal_seeds_give_equal_intervals() -> None:
    scored = {"m": {0: marks(np.arange(50) % 2)}}
    assert Bootstrap(scored, 100, seed=3).interval(["m"]) == Bootstrap(scored, 100, seed=3).interval(["m"])
    assert np.any(Bootstrap(scored, 100, seed=3).resamples("m") != Bootstrap(scored, 100, seed=4).resamples("m"))


def test_a_p_value_is_never_zero_and_one_where_nothing_differs() -> None:
    good, bad = marks(np.ones(100)), marks(np.zeros(100))
    assert paired_bootstrap(good, bad, draws=999).p_value == pytest.approx(2 / 1000)
    assert paired_bootstrap(good, good, draws=999).p_value == 1.0
