"""From similarities to weights."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mu_lightning.locales import LOCALES
from mu_lightning.settings import TypologySettings
from mu_lightning.settings.typology import TEMPERATURES
from mu_lightning.typology.plan import plan_sources, table
from mu_lightning.typology.similarity import SimilarityMatrix
from mu_lightning.typology.weightings import WEIGHTINGS, weighed
from mu_lightning.utilities.errors import UserError

MATRIX = SimilarityMatrix(("t", "a", "b", "c"), np.array([[1, 0.9, 0.7, 0.4]] * 4))
SOURCES = ("b", "a", "c")


def weights(settings: TypologySettings) -> dict[str, float]:
    return weighed(MATRIX, "t", SOURCES, settings).weights


def test_softmax_is_of_the_raw_similarities() -> None:
    found = weights(TypologySettings(weighting="softmax", temperature=0.2))
    assert list(found) == list(SOURCES)
    assert found["b"] / found["a"] == pytest.approx(math.exp((0.7 - 0.9) / 0.2), rel=1e-12)
    assert found["c"] / found["a"] == pytest.approx(math.exp((0.4 - 0.9) / 0.2), rel=1e-12)


def test_proportional_weights_are_powers_of_similarities() -> None:
    plain = weights(TypologySettings(weighting="proportional"))
    assert plain["c"] / plain["a"] == pytest.approx(0.4 / 0.9, rel=1e-12)
    sharp = weights(TypologySettings(weighting="proportional", temperature=0.1))
    assert sharp["c"] / sharp["a"] == pytest.approx((0.4 / 0.9) ** 10, rel=1e-12)


@pytest.mark.parametrize("temperature", [1e-300, 1e-6, 1e300])
@pytest.mark.parametrize("weighting", ["softmax", "proportional"])
def test_no_temperature_makes_weights_that_are_no_numbers(weighting: str, temperature: float) -> None:
    found = weights(TypologySettings(weighting=weighting, temperature=temperature))
    assert found["a"] == 1.0
    assert all(0 <= value <= 1 for value in found.values())


def test_what_is_not_given_is_what_it_stands_for() -> None:
    default = TypologySettings()
    assert (default.weighting, default.temperature, default.sinkhorn_iters) == (
        "softmax",
        TEMPERATURES["softmax"],
        None,
    )
    assert TypologySettings(weighting="proportional").temperature == 1.0
    assert TEMPERATURES.keys() == WEIGHTINGS.keys()


def test_iterations_without_a_weighting_ask_for_sinkhorn() -> None:
    asked = TypologySettings(sinkhorn_iters=20)
    assert asked == TypologySettings(weighting="sinkhorn", temperature=1.0, sinkhorn_iters=20)
    assert asked == TypologySettings(weighting="sinkhorn")
    assert TypologySettings(sinkhorn_iters=0).weighting == "sinkhorn"
    assert TypologySettings(sinkhorn_iters=3, temperature=0.5).temperature == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weighting": "softmax", "sinkhorn_iters": 20}, "the weighting is softmax: remove --sinkhorn-iters"),
        ({"weighting": "softmaks"}, "unknown weighting 'softmaks': did you mean softmax"),
        ({"temperature": 0}, "typology.temperature is 0: expected a number above 0"),
        ({"weighting": "proportional", "temperature": math.nan}, "typology.temperature is nan"),
        ({"sinkhorn_iters": -1}, "typology.sinkhorn_iters is -1: expected a number at least 0 and at most 100000"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        weights(TypologySettings(**settings))


def test_similarities_of_zero_cannot_be_proportions() -> None:
    none = SimilarityMatrix(("t", "a"), np.array([[1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(UserError, match="weights of a for t are all 0"):
        weighed(none, "t", ("a",), TypologySettings(weighting="proportional"))
    assert weighed(none, "t", ("a",), TypologySettings()).weights == {"a": 1.0}


def test_the_table_names_the_weighting() -> None:
    plan = plan_sources("af-ZA", available=LOCALES)
    assert "uriel weights (softmax, temperature 0.05)" in table(plan).splitlines()[0]
    old = plan_sources("af-ZA", available=LOCALES, settings=TypologySettings(sinkhorn_iters=20))
    assert "uriel weights (sinkhorn, top-k 20, 20 rounds, temperature 1; column" in table(old).splitlines()[0]
    assert table(replace(plan, preweight="equal")).splitlines()[0].endswith("equal weights")
