"""Differences, opponents, answers: on results whose differences are known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mu_lightning.approaches.base import Training
from mu_lightning.evaluation.statistics.baselines import BEST_SOURCE, MEAN_ZERO_SHOT, NATIVE
from mu_lightning.reporting.comparisons import OWN_EQUAL, OWN_SHUFFLED, Comparisons
from mu_lightning.reporting.evidence import EQUAL_AVERAGE, JOINT
from mu_lightning.reporting.filtering import Filters
from mu_lightning.reporting.gathering import gather
from mu_lightning.results.matrix import read_nxn
from mu_lightning.results.store import read_store

Add = Callable[..., Path]


def first(count: int, rows: int = 60) -> np.ndarray:
    return np.arange(rows) < count


@pytest.fixture
def comparisons(results: Path, matrix: Path) -> Comparisons:
    return Comparisons(gather(read_store(results), read_nxn(matrix), Filters()))


def test_each_method_meets_the_baselines_that_it_has(comparisons: Comparisons) -> None:
    differences = {name: comparisons.against(name)["merged once, linear, URIEL"] for name in comparisons.baselines
                   if "merged once, linear, URIEL" in comparisons.against(name)}  # fmt: skip
    means = {name: 60 * one.ranks.mean for name, one in differences.items()}
    assert means[BEST_SOURCE] == pytest.approx(30 - 22)  # of de-DE, en-US, it-IT the last
    assert means[EQUAL_AVERAGE] == means[OWN_EQUAL] == pytest.approx(10)
    assert means[OWN_SHUFFLED] == pytest.approx(30 - 26)
    assert means[NATIVE] == pytest.approx(30 - 50)
    assert differences[NATIVE].targets == ("af-ZA",)
    assert JOINT not in differences
    assert OWN_EQUAL not in {one.baseline for one in comparisons.all if one.method == "merged once, linear, equal"}


def test_a_constant_lead_over_paired_rows_has_an_interval_around_it(comparisons: Comparisons) -> None:
    found = comparisons.against(EQUAL_AVERAGE)["merged once, linear, URIEL"]
    assert found.bootstrap is not None
    assert found.bootstrap.value == pytest.approx(10 / 60)
    assert 0 < found.bootstrap.low < 10 / 60 < found.bootstrap.high
    assert (found.ranks.wins, found.ranks.rank_biserial) == (3, 1.0)
    assert found.ranks.p_value == pytest.approx(0.25)  # three targets: never below
    assert not found.significant


def test_on_one_target_mcnemar_counts_the_rows(comparisons: Comparisons) -> None:
    found = comparisons.on_target["merged once, linear, URIEL", "af-ZA", BEST_SOURCE]
    assert found.mcnemar is not None
    assert (found.mcnemar.only_first, found.mcnemar.only_second) == (8, 0)
    assert found.p_value == pytest.approx(2 / 2**8)
    assert found.adjusted > found.p_value
    # Several seeds, or a mean over models, are no single classifier: there the bootstrap's p-value stands.
    assert comparisons.on_target["merged once, linear, URIEL", "af-ZA", OWN_SHUFFLED].mcnemar is None
    mean = comparisons.on_target["merged once, linear, URIEL", "af-ZA", MEAN_ZERO_SHOT]
    assert mean.mcnemar is None
    assert mean.bootstrap is not None
    assert mean.p_value == mean.bootstrap.p_value


def test_the_plain_questions_are_answered_over_pairs_and_targets(comparisons: Comparisons) -> None:
    answers = {answer.question: answer for answer in comparisons.answers}
    typology = answers["Does typology beat equal weights?"]
    assert (typology.methods, typology.targets) == (1, 3)
    assert typology.ranks.mean == pytest.approx(10 / 60)
    assert typology.verdict == "better on these targets; inconclusive for other languages"
    ensemble = answers["Does the ensemble beat the merge?"]
    assert ensemble.methods == 1  # the vote has URIEL weights: it meets the merge with the same
    assert ensemble.ranks.mean == pytest.approx(2 / 60)
    assert "Does merging while training beat merging once?" not in answers


def test_many_targets_and_a_clear_lead_are_a_yes(tmp_path: Path, add_cell: Add) -> None:
    for place in range(8):
        target = ("af-ZA", "es-ES", "sq-AL", "fr-FR", "de-DE", "tr-TR", "sw-KE", "hi-IN")[place]
        add_cell(tmp_path, target, first(40 + place), "ties", preweight="uriel")
        add_cell(tmp_path, target, first(30), "ties", preweight="equal")
    found = Comparisons(gather(read_store(tmp_path), None, Filters()))
    (answer,) = found.answers
    assert answer.verdict == "yes"
    assert found.against(OWN_EQUAL)["merged once, ties, URIEL"].significant
    assert EQUAL_AVERAGE not in found.baselines  # there is no linear merge


def test_an_iterative_run_meets_the_merges_of_models_trained_as_its_own(tmp_path: Path, add_cell: Add) -> None:
    trained: dict[str, Any] = {"training": Training(trainer={"max_epochs": 3}), "sources": ["de-DE"]}
    add_cell(tmp_path, "af-ZA", first(20), "single", source="de-DE", **trained)
    add_cell(tmp_path, "af-ZA", first(30), **trained)
    add_cell(tmp_path, "af-ZA", first(33), "joint", **trained)
    add_cell(tmp_path, "af-ZA", first(36), "iterative", **trained)
    add_cell(tmp_path, "af-ZA", first(40), sources=["de-DE"])  # of models that are given
    found = Comparisons(gather(read_store(tmp_path), None, Filters()))
    answers = {one.question: one.ranks.mean for one in found.answers if "while training" in one.question}
    assert answers == {
        "Does merging while training beat merging once?": pytest.approx(6 / 60),
        "Does merging while training beat joint training?": pytest.approx(3 / 60),
        "Does merging while training beat the best source?": pytest.approx(16 / 60),
    }


def test_win_rates_count_ties_half_and_the_ranking_leaves_out_what_does_not_compete(comparisons: Comparisons) -> None:
    names = ["merged once, linear, URIEL", "merged once, linear, equal", "merged once, linear, URIEL"]
    rates = comparisons.win_rates(names)
    assert rates[0, 1] == 1.0
    assert rates[1, 0] == 0.0
    assert rates[0, 2] == 0.5
    assert np.isnan(rates[0, 0])
    assert comparisons.ranking is not None
    assert comparisons.ranking.methods == (
        "ensemble, soft, URIEL",
        "merged once, linear, URIEL",
        "merged once, linear, shuffled",
        "merged once, linear, equal",
    )


def test_a_matrix_without_predictions_gives_differences_without_intervals(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "old" / "evaluation_matrix.csv"
    path.parent.mkdir()
    path.write_text("source,af-ZA,es-ES,sq-AL\nde-DE,0.4,0.4,0.4\nen-US,0.3,0.3,0.3\nit-IT,0.2,0.2,0.2\n")
    found = Comparisons(gather(read_store(results), read_nxn(path), Filters()))
    best = found.against(BEST_SOURCE)["merged once, linear, URIEL"]
    assert best.ranks.mean == pytest.approx(0.1)
    assert best.bootstrap is None
    assert found.interval(BEST_SOURCE, ["af-ZA"]) is None


def test_seeds_that_only_draw_weights_are_no_second_training(tmp_path: Path, results: Path, add_cell: Add) -> None:
    from mu_lightning.reporting.summary import section

    def said(folder: Path) -> bool:
        evidence = gather(read_store(folder), None, Filters())
        return any("have one seed" in point for point in section(evidence, Comparisons(evidence), None).points)

    drawn, trained = {"models": {"de-DE": "same"}}, {}
    for seed in (0, 1):
        add_cell(tmp_path / "drawn", "af-ZA", first(30), "dare_ties", seed=seed, fingerprints=drawn)
        add_cell(tmp_path / "trained", "af-ZA", first(30), "iterative", seed=seed, fingerprints=trained)
    assert said(tmp_path / "drawn")
    assert not said(tmp_path / "trained")
