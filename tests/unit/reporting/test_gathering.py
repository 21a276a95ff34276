"""What is compared with what: names, rows, filters, and what is left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.evaluation.statistics.baselines import BEST_SOURCE, BEST_ZERO_SHOT, MEAN_ZERO_SHOT, NATIVE
from mu_lightning.reporting.evidence import Evidence
from mu_lightning.reporting.filtering import Filters
from mu_lightning.reporting.gathering import gather
from mu_lightning.results.matrix import read_nxn
from mu_lightning.results.store import read_store
from mu_lightning.utilities.errors import UserError

Add = Callable[..., Path]


def first(count: int, rows: int = 60) -> np.ndarray:
    return np.arange(rows) < count


def evidence(folder: Path, nxn: Path | None = None, **filters: object) -> Evidence:
    return gather(read_store(folder), None if nxn is None else read_nxn(nxn), Filters(**filters))  # type: ignore[arg-type]


def test_methods_are_named_by_what_they_are(results: Path) -> None:
    found = evidence(results)
    assert set(found.methods) == {"linear, URIEL", "linear, equal", "linear, shuffled URIEL", "vote soft, URIEL"}
    assert found.targets == ("af-ZA", "es-ES", "sq-AL")
    assert found.accuracy("linear, URIEL", "af-ZA") == 0.5
    assert found.accuracy("linear, shuffled URIEL", "af-ZA") == pytest.approx(26 / 60)  # the mean of two draws
    assert sorted(found.entries["linear, shuffled URIEL", "af-ZA"]) == [0, 1]
    assert (found.corpus, found.split) == ("cldr", "test")


def test_the_number_of_sources_tells_methods_apart_where_there_are_several(tmp_path: Path, add_cell: Add) -> None:
    for count in (2, 3):
        sources = ["de-DE", "en-US", "it-IT"][:count]
        add_cell(tmp_path / f"{count}", "af-ZA", first(10 * count), method="ties", sources=sources, num_languages=count)
    add_cell(tmp_path / "2", "af-ZA", first(20), method="slerp", sources=["de-DE", "en-US"], num_languages=2)
    assert set(evidence(tmp_path).methods) == {"ties, 2 sources", "ties, 3 sources", "slerp"}


def test_what_only_the_recipes_tell_apart_is_named_by_them(tmp_path: Path, add_cell: Add) -> None:
    for name in ("family", "script"):
        recipe = {"verb": "sweep", "typology": {"feature_set": name, "top_k": "20"}}
        add_cell(tmp_path / name, "af-ZA", first(30), method="linear", preweight="uriel", recipe=recipe)
    for density in (0.2, 0.5):
        recipe = {"verb": "sweep", "task": {"parameters": {"density": density}}}
        add_cell(tmp_path / str(density), "af-ZA", first(30), method="ties", preweight="uriel", recipe=recipe)
    assert set(evidence(tmp_path).methods) == {
        "linear, URIEL, feature set family", "linear, URIEL, feature set script",
        "ties, URIEL, density 0.2", "ties, URIEL, density 0.5",
    }  # fmt: skip


def test_a_second_result_of_the_same_is_left_out_and_said(tmp_path: Path, add_cell: Add) -> None:
    add_cell(tmp_path / "a", "af-ZA", first(30), method="linear", preweight="uriel")
    add_cell(tmp_path / "b", "af-ZA", first(40), method="linear", preweight="uriel")
    found = evidence(tmp_path)
    assert found.accuracy("linear, URIEL", "af-ZA") == 0.5
    assert [one.folder.parent.parent.name for one in found.left_out] == ["b"]
    assert "a second result of 'linear, URIEL' on af-ZA" in found.left_out[0].reason


def test_results_on_other_rows_than_most_are_left_out(tmp_path: Path, add_cell: Add) -> None:
    for method in ("linear", "ties"):
        add_cell(tmp_path, "af-ZA", first(30), method=method)
    add_cell(tmp_path, "af-ZA", first(30, 50), method="regmean")
    found = evidence(tmp_path)
    assert set(found.methods) == {"linear", "ties"}
    assert "other rows of af-ZA" in found.left_out[0].reason


def test_what_a_fit_run_compares_with_stays_apart_from_a_sweeps(tmp_path: Path, add_cell: Add) -> None:
    add_cell(tmp_path / "sweep", "af-ZA", first(30), method="linear", preweight="uriel")
    add_cell(tmp_path / "run", "af-ZA", first(20), method="linear", preweight="uriel", recipe={})
    assert set(evidence(tmp_path).methods) == {"linear, URIEL", "linear, URIEL, own run"}
    assert set(evidence(tmp_path / "run").methods) == {"linear, URIEL"}


def test_the_matrix_gives_the_baselines(results: Path, matrix: Path) -> None:
    found = evidence(results, matrix)
    assert found.accuracy(NATIVE, "af-ZA") == 50 / 60
    assert np.isnan(found.accuracy(NATIVE, "sq-AL"))  # there is no model of it
    assert found.accuracy(BEST_ZERO_SHOT, "af-ZA") == 24 / 60
    assert found.accuracy(BEST_ZERO_SHOT, "sq-AL") == 25 / 60  # of the six, the Afrikaans one
    assert found.accuracy(MEAN_ZERO_SHOT, "af-ZA") == pytest.approx(22 / 60)
    assert not found.methods[NATIVE].zero_shot
    assert not found.methods[BEST_ZERO_SHOT].competes
    assert found.methods["linear, URIEL"].competes


def test_single_source_models_are_no_methods_and_make_baselines_without_a_matrix(tmp_path: Path, add_cell: Add) -> None:
    add_cell(tmp_path, "af-ZA", first(30), method="linear", sources=["de-DE"])
    for place, source in enumerate(("de-DE", "nl-NL")):
        add_cell(tmp_path, "af-ZA", first(20 + place), experiment_type="source", method=source, sources=[source])
    found = evidence(tmp_path)
    assert set(found.methods) == {"linear", BEST_ZERO_SHOT, MEAN_ZERO_SHOT}
    assert found.accuracies["af-ZA"] == {"de-DE": 20 / 60, "nl-NL": 21 / 60}


def test_a_matrix_alone_is_reported_too(matrix: Path) -> None:
    found = evidence(matrix.parent, matrix)
    assert set(found.methods) == {NATIVE, BEST_ZERO_SHOT, MEAN_ZERO_SHOT}
    assert BEST_SOURCE not in found.methods


def test_filters_choose_targets_and_types(results: Path, matrix: Path) -> None:
    assert evidence(results, matrix, locales=["sq-AL"]).targets == ("sq-AL",)
    assert "linear, URIEL" not in evidence(results, experiment_types=["ensemble"]).methods
    assert set(evidence(results, experiment_types=["similarity"]).methods) == {"linear, URIEL"}
    assert set(evidence(results, experiment_types=["average", "ensemble"]).methods) == {
        "linear, equal",
        "vote soft, URIEL",
    }


def test_filters_that_leave_nothing_say_what_there_is(results: Path) -> None:
    with pytest.raises(UserError, match=r"leave nothing of the 15 results .* af-ZA, es-ES, sq-AL .* ensemble, merge"):
        evidence(results, locales=["fr-FR"])
    with pytest.raises(UserError, match="unknown target of the results 'fr-FR'"):
        evidence(results, locales=["af-ZA", "fr-FR"])
    with pytest.raises(UserError, match="has no result of the experiment type 'iterative': it has ensemble, merge"):
        evidence(results, experiment_types=["merge", "iterative"])
    with pytest.raises(UserError, match="unknown experiment type 'merges': did you mean merge"):
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
        add_cell(tmp_path / corpus, "af-ZA", first(30), method="linear", corpus=corpus)
    with pytest.raises(UserError, match="choose one with --corpus"):
        evidence(tmp_path)
    assert evidence(tmp_path, corpus="massive").corpus == "massive"


def test_a_folder_of_failures_says_that_there_is_nothing_and_why(results: Path) -> None:
    with pytest.raises(UserError, match=r"no results to report on .* 1 failed, the first with: .*slerp merges two"):
        evidence(results / "af-ZA" / "merge_slerp")
