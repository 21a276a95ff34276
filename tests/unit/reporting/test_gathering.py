"""What is compared with what: names, rows, filters, and what is left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.approaches.base import Training
from mu_lightning.evaluation.statistics.baselines import BEST_SOURCE, BEST_ZERO_SHOT, MEAN_ZERO_SHOT, NATIVE
from mu_lightning.reporting.evidence import Evidence
from mu_lightning.reporting.filtering import Filters
from mu_lightning.reporting.gathering import gather
from mu_lightning.results.matrix import read_nxn
from mu_lightning.results.store import read_store
from mu_lightning.settings import TypologySettings
from mu_lightning.utilities.errors import UserError

Add = Callable[..., Path]


def first(count: int, rows: int = 60) -> np.ndarray:
    return np.arange(rows) < count


def evidence(folder: Path, nxn: Path | None = None, **filters: object) -> Evidence:
    return gather(read_store(folder), None if nxn is None else read_nxn(nxn), Filters(**filters))  # type: ignore[arg-type]


def test_methods_are_named_by_what_they_are(results: Path) -> None:
    found = evidence(results)
    assert set(found.methods) == {
        "merged once, linear, URIEL",
        "merged once, linear, equal",
        "merged once, linear, shuffled",
        "ensemble, soft, URIEL",
    }
    assert found.targets == ("af-ZA", "es-ES", "sq-AL")
    assert found.accuracy("merged once, linear, URIEL", "af-ZA") == 0.5
    assert found.accuracy("merged once, linear, shuffled", "af-ZA") == pytest.approx(26 / 60)  # the mean of two draws
    assert sorted(found.entries["merged once, linear, shuffled", "af-ZA"]) == [0, 1]
    assert (found.corpus, found.split) == ("cldr", "test")


def test_the_number_of_sources_tells_methods_apart_where_there_are_several(tmp_path: Path, add_cell: Add) -> None:
    for count in (2, 3):
        add_cell(tmp_path, "af-ZA", first(10 * count), "ties", sources=["de-DE", "en-US", "it-IT"][:count])
    add_cell(tmp_path, "af-ZA", first(20), "slerp", sources=["de-DE", "en-US"])
    assert set(evidence(tmp_path).methods) == {
        "merged once, ties, URIEL, num languages 2",
        "merged once, ties, URIEL, num languages 3",
        "merged once, slerp, URIEL",
    }


def test_what_only_a_parameter_tells_apart_is_named_by_it(tmp_path: Path, add_cell: Add) -> None:
    for name in ("family", "script"):
        add_cell(tmp_path, "af-ZA", first(30), typology=TypologySettings(feature_set=name))
    for density in (0.2, 0.5):
        add_cell(tmp_path, "af-ZA", first(30), "ties", parameters={"density": density})
    assert set(evidence(tmp_path).methods) == {
        "merged once, linear, URIEL, feature set family", "merged once, linear, URIEL, feature set script",
        "merged once, ties (density 0.2), URIEL", "merged once, ties (density 0.5), URIEL",
    }  # fmt: skip


def test_a_second_result_of_the_same_is_left_out_and_said(tmp_path: Path, add_cell: Add) -> None:
    add_cell(tmp_path / "a", "af-ZA", first(30), "linear", preweight="uriel")
    add_cell(tmp_path / "b", "af-ZA", first(40), "linear", preweight="uriel")
    found = evidence(tmp_path)
    assert found.accuracy("merged once, linear, URIEL", "af-ZA") == 0.5
    assert [one.folder.parent.parent.name for one in found.left_out] == ["b"]
    assert "a second result of 'merged once, linear, URIEL' on af-ZA" in found.left_out[0].reason


def test_results_on_other_rows_than_most_are_left_out(tmp_path: Path, add_cell: Add) -> None:
    for method in ("linear", "ties"):
        add_cell(tmp_path, "af-ZA", first(30), method)
    add_cell(tmp_path, "af-ZA", first(30, 50), "regmean")
    found = evidence(tmp_path)
    assert set(found.methods) == {"merged once, linear, URIEL", "merged once, ties, URIEL"}
    assert "other rows of af-ZA" in found.left_out[0].reason


def test_models_that_were_trained_stay_apart_from_given_ones(tmp_path: Path, add_cell: Add) -> None:
    add_cell(tmp_path / "given", "af-ZA", first(30))
    add_cell(tmp_path / "trained", "af-ZA", first(20), training=Training(trainer={"max_epochs": 3}))
    assert len(evidence(tmp_path).methods) == 2
    assert set(evidence(tmp_path / "trained").methods) == {"merged once, linear, URIEL"}


def test_the_matrix_gives_the_baselines(results: Path, matrix: Path) -> None:
    found = evidence(results, matrix)
    assert found.accuracy(NATIVE, "af-ZA") == 50 / 60
    assert np.isnan(found.accuracy(NATIVE, "sq-AL"))  # there is no model of it
    assert found.accuracy(BEST_ZERO_SHOT, "af-ZA") == 24 / 60
    assert found.accuracy(BEST_ZERO_SHOT, "sq-AL") == 25 / 60  # of the six, the Afrikaans one
    assert found.accuracy(MEAN_ZERO_SHOT, "af-ZA") == pytest.approx(22 / 60)
    assert not found.methods[NATIVE].zero_shot
    assert not found.methods[BEST_ZERO_SHOT].competes
    assert found.methods["merged once, linear, URIEL"].competes


def test_single_source_models_are_no_methods_and_make_baselines_without_a_matrix(tmp_path: Path, add_cell: Add) -> None:
    add_cell(tmp_path, "af-ZA", first(30), "linear", sources=["de-DE"])
    for place, source in enumerate(("de-DE", "nl-NL")):
        add_cell(tmp_path, "af-ZA", first(20 + place), "single", sources=[source], source=source)
    found = evidence(tmp_path)
    assert set(found.methods) == {"merged once, linear, URIEL", BEST_ZERO_SHOT, MEAN_ZERO_SHOT}
    assert found.accuracies["af-ZA"] == {"de-DE": 20 / 60, "nl-NL": 21 / 60}


def test_a_matrix_alone_is_reported_too(matrix: Path) -> None:
    found = evidence(matrix.parent, matrix)
    assert set(found.methods) == {NATIVE, BEST_ZERO_SHOT, MEAN_ZERO_SHOT}
    assert BEST_SOURCE not in found.methods


def test_filters_choose_targets_and_types(results: Path, matrix: Path) -> None:
    assert evidence(results, matrix, locales=["sq-AL"]).targets == ("sq-AL",)
    assert "merged once, linear, URIEL" not in evidence(results, experiment_types=["ensemble"]).methods
    assert set(evidence(results, experiment_types=["similarity"]).methods) == {"merged once, linear, URIEL"}
    assert set(evidence(results, experiment_types=["average", "ensemble"]).methods) == {
        "merged once, linear, equal",
        "ensemble, soft, URIEL",
    }


def test_filters_that_leave_nothing_say_what_there_is(results: Path) -> None:
    with pytest.raises(UserError, match=r"none of the 15 results .* af-ZA, es-ES, sq-AL .* ensemble, one_shot"):
        evidence(results, locales=["fr-FR"])
    with pytest.raises(UserError, match="unknown target of the results 'fr-FR'"):
        evidence(results, locales=["af-ZA", "fr-FR"])
    with pytest.raises(UserError, match=r"unknown approach of the results in .* 'iterative'"):
        evidence(results, experiment_types=["merge", "iterative"])
    with pytest.raises(UserError, match=r"unknown approach of the results in .* 'merges': did you mean merge"):
        evidence(results, experiment_types=["merges"])
    with pytest.raises(UserError, match="unknown corpus of the results 'massive'"):
        evidence(results, corpus="massive")


def test_a_matrix_without_a_target_is_refused(results: Path, tmp_path: Path, add_matrix: Add) -> None:
    small = add_matrix(tmp_path / "small", {"de-DE": {"af-ZA": first(20), "es-ES": first(20)}})
    with pytest.raises(UserError, match="no column for sq-AL: it has af-ZA, es-ES"):
        evidence(results, small)
    assert evidence(results, small, locales=["af-ZA", "es-ES"]).targets == ("af-ZA", "es-ES")


def test_a_matrix_of_another_split_or_of_other_rows_is_refused(results: Path, tmp_path: Path, add_matrix: Add) -> None:
    columns = {target: first(20) for target in ("af-ZA", "es-ES", "sq-AL")}
    dev = add_matrix(tmp_path / "dev", {"de-DE": columns}, split="dev")
    with pytest.raises(UserError, match=r"several kinds of split \(dev, test\)"):
        evidence(results, dev)
    short = add_matrix(tmp_path / "short", {"de-DE": {target: first(20, 50) for target in columns}})
    with pytest.raises(UserError, match="scored other rows of af-ZA"):
        evidence(results, short)


def test_results_of_several_corpora_are_told_apart_by_a_filter(tmp_path: Path, add_cell: Add) -> None:
    for corpus in ("cldr", "massive"):
        add_cell(tmp_path / corpus, "af-ZA", first(30), "linear", corpus=corpus)
    with pytest.raises(UserError, match="choose one with --corpus"):
        evidence(tmp_path)
    assert evidence(tmp_path, corpus="massive").corpus == "massive"


def test_a_folder_of_failures_says_that_there_is_nothing_and_why(results: Path) -> None:
    with pytest.raises(UserError, match=r"no results to report on .* 1 failed, the first with: .*slerp merges two"):
        evidence(results / "af-ZA" / "slerp")
