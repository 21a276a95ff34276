"""From a target to its sources and weights."""

import json
import math
from pathlib import Path

import pytest

from mu_lightning.locales import LOCALES
from mu_lightning.typology.plan import (
    DEFAULT_MATRIX_FILE,
    SourcePlan,
    TypologySettings,
    plan_sources,
    reweighted,
    source_matrix,
    table,
    table_rows,
)
from mu_lightning.typology.similarity import SimilarityMatrix, from_features, write_csv
from mu_lightning.typology.sinkhorn import normalize
from mu_lightning.utilities.errors import UserError

FEATURES = from_features("syntax_knn", tuple(LOCALES))


def plan(target: str = "sq-AL", **more: object) -> SourcePlan:
    arguments = {"available": LOCALES, "settings": TypologySettings(), "seed": 0, **more}
    return plan_sources(target, **arguments)  # type: ignore[arg-type]


def test_the_nearest_are_weighed_by_their_similarity() -> None:
    result, settings = plan(), TypologySettings()
    order = sorted((tag for tag in LOCALES if tag != "sq-AL"), key=lambda tag: -FEATURES.similarity("sq-AL", tag))
    assert list(result.sources) == order[:5]
    exponentials = {tag: math.exp(FEATURES.similarity("sq-AL", tag) / settings.temperature) for tag in order[:5]}  # type: ignore[operator]
    for tag in result.sources:
        assert result.weights[tag] == pytest.approx(exponentials[tag] / sum(exponentials.values()), abs=1e-14)
    assert result.column_residual is None


def test_sinkhorn_weighs_them_by_their_normalized_similarity() -> None:
    result = plan(settings=TypologySettings(weighting="sinkhorn"))
    matrix = from_features("syntax_knn", tuple(LOCALES))
    row, scores = normalize(matrix, 20, 20).values[matrix.index("sq-AL")], matrix.values[matrix.index("sq-AL")]
    order = sorted((tag for tag in LOCALES if tag != "sq-AL"), key=lambda tag: -scores[matrix.index(tag)])
    assert list(result.sources) == order[:5]
    total = sum(row[matrix.index(tag)] for tag in result.sources)
    for tag in result.sources:
        assert result.weights[tag] == pytest.approx(row[matrix.index(tag)] / total, abs=1e-15)
        assert result.similarities[tag] == scores[matrix.index(tag)]
    assert result.uriel_weights == result.weights
    assert result.column_residual == normalize(matrix, 20, 20).column_residual


def test_only_available_locales_are_chosen_and_the_target_is_passed_over() -> None:
    available = ["fi-FI", "sq-AL", "it-IT", "he-IL", "de-DE"]
    assert set(plan(available=available, num_languages=4).sources) == set(available) - {"sq-AL"}


def test_named_sources_keep_their_order_and_need_not_be_near() -> None:
    result = plan(locales=["km-KH", "ro-RO"], settings=TypologySettings(top_k=1))
    assert result.sources == ("km-KH", "ro-RO")
    assert list(result.weights) == ["km-KH", "ro-RO"]
    assert 0 < result.weights["km-KH"] < 1
    assert math.fsum(result.weights.values()) == pytest.approx(1, abs=1e-12)


def test_manual_weights_name_the_sources_too() -> None:
    result = plan(preweight="manual", manual_weights="it-IT=3,el-GR=1")
    assert result.weights == {"it-IT": 0.75, "el-GR": 0.25}
    assert result.uriel_weights != result.weights
    assert plan(preweight="manual", locales=["el-GR", "it-IT"], manual_weights={"it-IT": 3, "el-GR": 1}).weights == {
        "el-GR": 0.25,
        "it-IT": 0.75,
    }


def test_other_weights_for_the_same_sources() -> None:
    result = plan()
    assert set(reweighted(result, "equal", 0).values()) == {0.2}
    assert reweighted(result, "uriel", 3) == pytest.approx(result.weights, abs=1e-15)
    shuffled = reweighted(result, "shuffled", 7)
    assert list(shuffled) == list(result.sources)
    assert shuffled != result.weights
    assert shuffled == pytest.approx(plan(preweight="shuffled", seed=7).weights, abs=1e-15)
    manual = plan(preweight="manual", manual_weights="it-IT=3,el-GR=1")
    assert reweighted(manual, "manual", 0) == manual.weights
    with pytest.raises(UserError, match="none are given"):
        reweighted(result, "manual", 0)


def test_temperature_and_feature_set_change_the_weights() -> None:
    plain = plan("af-ZA")
    sharp = plan("af-ZA", settings=TypologySettings(temperature=0.01))
    assert sharp.sources == plain.sources
    assert max(sharp.weights.values()) > max(plain.weights.values())
    assert plan("af-ZA", settings=TypologySettings(feature_set="geography")).sources[0] == "sw-KE"
    assert plan("af-ZA", settings=TypologySettings(feature_set="family:2+syntax_knn")).sources[0] in ("nl-NL", "de-DE")


def test_a_file_gives_the_same_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(source_matrix(TypologySettings()), tmp_path / DEFAULT_MATRIX_FILE)
    named = TypologySettings(similarity_source="sparse", similarity_matrix=tmp_path / DEFAULT_MATRIX_FILE)
    assert plan(settings=named).weights == plan().weights
    monkeypatch.chdir(tmp_path)
    assert plan(settings=TypologySettings(similarity_source="sparse")).weights == plan().weights


def test_what_the_set_knows_nothing_of_is_said() -> None:
    result = plan("fi-FI", settings=TypologySettings(feature_set="learned"))
    assert "en-US" in result.without_data
    assert "not considered, as learned has no data for them: az-AZ, en-US" in table(result)
    known = r"'learned' has no data for az-AZ .*: choose another set .* that it knows are tr-TR"
    with pytest.raises(UserError, match=known):
        plan("az-AZ", settings=TypologySettings(feature_set="learned"))
    with pytest.raises(UserError, match="feature set 'learned' has no data for en-US"):
        plan("fi-FI", locales=["en-US"], settings=TypologySettings(feature_set="learned"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"target": "sq-XX"}, "unknown locale 'sq-XX': did you mean sq-AL"),
        ({"locales": ["it-IT", "ell-XX"]}, "unknown locale 'ell-XX': did you mean el-GR"),
        ({"locales": ["it-IT", "sq-AL"]}, "the target sq-AL is among its sources"),
        ({"locales": ["it-IT", "it-IT"]}, "the source it-IT is named twice"),
        ({"locales": []}, "no source locales are given"),
        ({"locales": ["it-IT"], "available": ["el-GR"]}, "no source model for it-IT; available: el-GR"),
        ({"locales": ["it-IT"], "available": []}, "no source model for it-IT; available: none"),
        ({"num_languages": 0}, "number of source languages must be at least 1"),
        ({"num_languages": 3, "available": ["it-IT", "sq-AL"]}, "3 source languages .* only 1 exists: it-IT"),
        ({"num_languages": 21}, "only 20 of the 51 available are among its 20 nearest: ro-RO.*raise --top-k"),
        ({"preweight": "average"}, "unknown weight source 'average'"),
        ({"preweight": "manual"}, "none are given"),
        ({"manual_weights": "it-IT=1"}, "add --preweight manual"),
        ({"preweight": "manual", "manual_weights": "it-IT=1", "locales": ["el-GR"]}, "do not match the sources"),
        ({"settings": TypologySettings(feature_set="syntax")}, "unknown feature set 'syntax'"),
        ({"settings": TypologySettings(similarity_source="sparce")}, "unknown similarity source 'sparce'"),  # type: ignore[arg-type]
        ({"settings": TypologySettings(similarity_matrix=Path("m.csv"))}, "read with --similarity-source sparse only"),
        (
            {"locales": ["km-KH"], "settings": TypologySettings(weighting="sinkhorn", temperature=1e-5)},
            "all 0 at temperature 1e-05",
        ),
        ({"preweight": "shuffled", "seed": -1}, "seed must not be negative"),
    ],
)
def test_mistakes_are_refused_in_one_line(more: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        plan(**more)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no file is named and there is no language_similarity_matrix_unified"):
        plan(settings=TypologySettings(similarity_source="sparse"))
    without = from_features("syntax_knn", ("it-IT", "ro-RO", "el-GR"))
    write_csv(without, tmp_path / "without.csv")
    settings = TypologySettings(similarity_source="sparse", similarity_matrix=tmp_path / "without.csv")
    with pytest.raises(UserError, match=r"without\.csv has no row for sq-AL; it has it-IT, ro-RO, el-GR"):
        plan(settings=settings)
    (tmp_path / "broken.csv").write_text((tmp_path / "without.csv").read_text().replace("1.0", "nan", 1))
    settings = TypologySettings(similarity_source="sparse", similarity_matrix=tmp_path / "broken.csv")
    with pytest.raises(UserError, match=r"it-IT \(row\) and it-IT \(column\) is not finite"):
        plan("it-IT", settings=settings)


def test_a_file_may_hold_locales_beyond_the_table(tmp_path: Path) -> None:
    matrix = SimilarityMatrix(("xx-XX", "it-IT", "ro-RO"), [[1, 0.9, 0.3], [0.9, 1, 0.6], [0.3, 0.6, 1]])  # type: ignore[arg-type]
    write_csv(matrix, tmp_path / "m.csv")
    settings = TypologySettings(similarity_source="sparse", similarity_matrix=tmp_path / "m.csv")
    result = plan("xx-XX", available=matrix.locales, num_languages=2, settings=settings)
    assert result.sources == ("it-IT", "ro-RO")
    assert table(result).startswith("xx-XX: similarity by")


def test_any_language_can_be_a_target() -> None:
    result = plan("yo", num_languages=3)
    assert len(result.sources) == 3
    assert "yo (Yoruba)" in table(result)


def test_weights_do_not_depend_on_how_data_call_a_language() -> None:
    ours = plan("af-ZA", available=("en-US", "de-DE", "sw-KE"), num_languages=3, settings=TypologySettings(top_k=51))
    own = plan("af", available=("en", "deu", "sw"), num_languages=3, settings=TypologySettings(top_k=51))
    assert own.sources == tuple({"en-US": "en", "de-DE": "deu", "sw-KE": "sw"}[tag] for tag in ours.sources)
    assert list(own.weights.values()) == list(ours.weights.values())


def test_two_tags_of_one_language_can_both_be_sources() -> None:
    result = plan("en-AU", available=("en-US", "en-GB", "de"), num_languages=3)
    assert set(result.sources[:2]) == {"en-US", "en-GB"}
    assert result.similarities["en-GB"] == 1.0


def test_the_details_are_plain_values() -> None:
    settings = TypologySettings(similarity_source="dense")
    details = json.loads(json.dumps(plan(settings=settings).details()))
    assert details["target"] == "sq-AL"
    assert details["settings"]["top_k"] == 20
    assert details["settings"]["weighting"] == "softmax"
    assert details["settings"]["similarity_matrix"] is None
    assert math.fsum(details["weights"].values()) == pytest.approx(1, abs=1e-12)


def test_the_table_is_aligned_and_in_order() -> None:
    result = plan(locales=["km-KH", "ro-RO", "zh-CN"])
    rows = table_rows(result)
    assert [row[0] for row in rows] == ["ro-RO", "zh-CN", "km-KH"]
    assert rows[0][1:] == ("Romanian", result.similarities["ro-RO"], result.weights["ro-RO"])
    lines = table(result).splitlines()[1:]
    assert len({len(line) for line in lines}) == 1
    assert "Chinese (China)" in lines[2]
