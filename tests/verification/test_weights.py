"""What must hold of merge weights for every target, whatever the settings."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.locales import LOCALES
from mu_lightning.typology.features import FEATURE_SETS, locales_with_data
from mu_lightning.typology.plan import TypologySettings, plan_sources, reweighted, source_matrix
from mu_lightning.typology.similarity import write_csv
from mu_lightning.typology.sinkhorn import normalize
from mu_lightning.typology.weights import WEIGHT_SOURCES

SETTINGS = [
    TypologySettings(),
    TypologySettings(top_k=5),
    TypologySettings(top_k=51, sinkhorn_iters=0),  # of sinkhorn
    TypologySettings(temperature=0.02),
    TypologySettings(weighting="proportional"),
    TypologySettings(weighting="sinkhorn"),
    TypologySettings(weighting="sinkhorn", temperature=0.05),
    TypologySettings(feature_set="syntax_knn:0.7+geography:0.3", temperature=3.0),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("target", LOCALES)
def test_weights_of_every_target_sum_to_1(target: str, settings: TypologySettings) -> None:
    plan = plan_sources(target, available=LOCALES, num_languages=5, settings=settings)
    sources = list(plan.sources)
    assert len(sources) == len(set(sources)) == 5
    assert target not in sources
    manual = plan_sources(
        target, available=LOCALES, preweight="manual", manual_weights=dict.fromkeys(sources, 0.3), settings=settings
    )
    for preweight in WEIGHT_SOURCES:
        weights = manual.weights if preweight == "manual" else reweighted(plan, preweight, seed=1)
        assert list(weights) == sources
        assert all(0 <= weight <= 1 for weight in weights.values())
        assert abs(math.fsum(weights.values()) - 1) < 1e-12
        assert abs(sum(weights.values()) - 1) < 1e-12


@pytest.mark.parametrize("weighting", ["softmax", "proportional"])
@pytest.mark.parametrize("feature_set", [*FEATURE_SETS, "syntax_knn:0.7+geography:0.3"])
def test_a_more_similar_source_never_weighs_less(feature_set: str, weighting: str) -> None:
    settings = [
        TypologySettings(feature_set=feature_set, weighting=weighting, top_k=51, temperature=temperature)
        for temperature in (None, 0.01)
    ]
    known = locales_with_data(feature_set)
    weighed = 0
    for target, number, setting in itertools.product(known, (2, 5, 20, len(known) - 1), settings):
        plan = plan_sources(target, available=known, num_languages=min(number, len(known) - 1), settings=setting)
        ordered = sorted(plan.sources, key=plan.similarities.__getitem__)
        for less, more in itertools.pairwise(ordered):
            assert plan.weights[less] <= plan.weights[more], (target, number, less, more)
            if plan.similarities[less] == plan.similarities[more]:
                assert plan.weights[less] == plan.weights[more]
        weighed += len(ordered)
    assert weighed > 1000


def test_sinkhorn_gives_more_similar_sources_less_weight() -> None:
    # The reason why it is no longer the default: what a language lacks in near neighbors falls to distant ones.
    plan = plan_sources("af-ZA", available=LOCALES, num_languages=20, settings=TypologySettings(weighting="sinkhorn"))
    heaviest = max(plan.weights, key=plan.weights.__getitem__)
    assert plan.sources[0] == "nl-NL"
    assert plan.sources.index(heaviest) > 10
    assert plan.weights["nl-NL"] < 1 / 20


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
@pytest.mark.parametrize("top_k", [1, 5, 20, 51])
@pytest.mark.parametrize(("iterations", "temperature"), [(0, 1.0), (20, 1.0), (20, 0.05), (200, 10.0)])
def test_rows_sum_to_1_and_leave_the_locale_itself_out(
    feature_set: str, top_k: int, iterations: int, temperature: float
) -> None:
    matrix = source_matrix(TypologySettings(feature_set=feature_set))
    result = normalize(matrix, top_k, iterations, temperature)
    for row in result.values:
        assert abs(math.fsum(row) - 1) < 1e-12
    assert (result.values >= 0).all()
    assert (np.diag(result.values) == 0).all()
    assert ((result.values > 0).sum(axis=1) <= top_k).all()
    assert len(result.locales) == len(locales_with_data(feature_set))


@pytest.mark.parametrize("feature_set", ["syntax_knn", "geography"])
def test_a_written_matrix_gives_exactly_the_plans_of_the_computed_one(feature_set: str, tmp_path: Path) -> None:
    dense = TypologySettings(feature_set=feature_set)
    path = tmp_path / "language_similarity_matrix_unified.csv"
    write_csv(source_matrix(dense), path)
    sparse = TypologySettings(similarity_source="sparse", similarity_matrix=path)
    for target in LOCALES:
        computed, read = (plan_sources(target, available=LOCALES, settings=settings) for settings in (dense, sparse))
        assert computed.sources == read.sources
        assert computed.similarities == read.similarities
        assert computed.weights == read.weights
        assert computed.column_residual == read.column_residual
