"""Where weights come from, and what is refused."""

import math

import pytest

from mu_lightning.typology.weights import WEIGHT_SOURCES, WeightRequest, normalized, parse_weights, source_weights
from mu_lightning.utilities.errors import UserError

URIEL = {"nl-NL": 0.4, "de-DE": 0.3, "en-US": 0.2, "sv-SE": 0.1}


def request(uriel: dict[str, float] = URIEL, seed: int = 0, target: str = "af-ZA", **more: object) -> WeightRequest:
    return WeightRequest(target, tuple(uriel), uriel, seed=seed, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("preweight", WEIGHT_SOURCES)
def test_every_source_gives_weights_that_sum_to_1_in_the_order_of_the_sources(preweight: str) -> None:
    weights = source_weights(preweight, request(manual={"sv-SE": 7, "de-DE": 1, "nl-NL": 0, "en-US": 3}))
    assert list(weights) == list(URIEL)
    assert math.fsum(weights.values()) == pytest.approx(1.0, abs=1e-12)
    assert min(weights.values()) >= 0


def test_uriel_equal_and_manual() -> None:
    assert source_weights("uriel", request()) == pytest.approx(URIEL, abs=1e-15)
    assert set(source_weights("equal", request()).values()) == {0.25}
    given = "sv-SE=1, nl-NL=2 de-DE=0,en-US=1"
    assert source_weights("manual", request(manual=given)) == {"nl-NL": 0.5, "de-DE": 0, "en-US": 0.25, "sv-SE": 0.25}


@pytest.mark.parametrize("seed", range(30))
def test_shuffled_weights_are_the_same_weights_elsewhere(seed: int) -> None:
    shuffled = source_weights("shuffled", request(seed=seed))
    assert sorted(shuffled.values()) == pytest.approx(sorted(URIEL.values()), abs=1e-15)
    assert shuffled != source_weights("uriel", request())
    assert shuffled == source_weights("shuffled", request(seed=seed))


def test_shuffled_weights_differ_even_where_only_one_weight_does() -> None:
    uriel = {"a": 0.3, "b": 0.3, "c": 0.4}
    for seed in range(20):
        assert source_weights("shuffled", request(uriel, seed))["c"] == pytest.approx(0.3)
    equal = {"a": 0.5, "b": 0.5}
    assert source_weights("shuffled", request(equal)) == equal
    assert source_weights("shuffled", request({"a": 1.0})) == {"a": 1.0}


def test_seeds_and_targets_shuffle_differently() -> None:
    orders = {tuple(source_weights("shuffled", request(seed=seed)).values()) for seed in range(30)}
    assert len(orders) > 10
    orders = {tuple(source_weights("shuffled", request(target=f"t{index}")).values()) for index in range(30)}
    assert len(orders) > 10


@pytest.mark.parametrize(
    ("manual", "message"),
    [
        (None, "none are given"),
        ({}, "none are given"),
        ({"nl-NL": 1.0}, "no weight for de-DE, en-US, sv-SE"),
        ({**URIEL, "fi-FI": 1.0}, "fi-FI not among the sources"),
        ({**URIEL, "nl-NL": -1.0}, "finite and not negative, but nl-NL has -1"),
        ({**URIEL, "nl-NL": math.nan}, "finite and not negative, but nl-NL has nan"),
        ({**URIEL, "nl-NL": math.inf}, "finite and not negative"),
        (dict.fromkeys(URIEL, 0.0), "are all 0"),
        ({**URIEL, "nl-NL": "much"}, "weight of nl-NL is not a number: 'much'"),
        ("nl-NL", "written locale=number"),
        ("=1", "written locale=number"),
        (",", "written locale=number"),
        ("nl-NL=1=2", "written locale=number"),
        ("nl-NL=1,nl-NL=2", "name nl-NL twice"),
        ("nl-NL=", "not a number"),
    ],
)
def test_manual_weights_that_do_not_fit_are_refused(manual: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        source_weights("manual", request(manual=manual))


def test_other_mistakes_are_refused() -> None:
    with pytest.raises(UserError, match="unknown weight source 'uriell': did you mean uriel"):
        source_weights("uriell", request())
    with pytest.raises(UserError, match="no sources to weigh for af-ZA"):
        source_weights("equal", request({}))
    with pytest.raises(UserError, match="seed must not be negative"):
        source_weights("shuffled", request(seed=-1))


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_normalizing_loses_no_digits_at_any_scale(scale: float) -> None:
    weights = normalized({"a": 1.0 * scale, "b": 3.0 * scale})
    assert weights == pytest.approx({"a": 0.25, "b": 0.75}, abs=1e-15)


def test_weights_are_read_from_text_and_mappings() -> None:
    assert parse_weights("a=1,b=2e-1") == parse_weights({"a": 1, "b": 0.2}) == {"a": 1.0, "b": 0.2}
