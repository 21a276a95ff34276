"""The similarity matrix: how it is computed, what its file holds, what is refused."""

import math
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.locales import LOCALES
from mu_lightning.typology import similarity
from mu_lightning.typology.features import FEATURE_SETS, features, locales_with_data
from mu_lightning.typology.similarity import SimilarityMatrix, from_features, read_csv, write_csv
from mu_lightning.utilities.errors import UserError

TAGS = ("sq-AL", "ro-RO", "zh-CN", "zh-TW", "sw-KE")


def naive_similarity(left: np.ndarray, right: np.ndarray) -> float:
    shared = [(a, b) for a, b in zip(left.tolist(), right.tolist(), strict=True) if not math.isnan(a + b)]
    product = math.fsum(a * b for a, b in shared)
    norm = math.sqrt(math.fsum(a * a for a, _ in shared)) * math.sqrt(math.fsum(b * b for _, b in shared))
    return (product / norm + 1) / 2


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_it_is_the_cosine_mapped_to_0_and_1(name: str) -> None:
    tags = [tag for tag in TAGS if tag in locales_with_data(name)]
    matrix, rows = from_features(name, tags), features(name, tags)
    for i in range(len(tags)):
        for j in range(len(tags)):
            expected = 1.0 if i == j else naive_similarity(rows[i], rows[j])
            assert matrix.values[i, j] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", [*FEATURE_SETS, "syntax_knn:0.7+geography:0.3"])
def test_it_is_exactly_symmetric_with_a_diagonal_of_1(name: str) -> None:
    values = from_features(name, locales_with_data(name)).values
    assert np.array_equal(values, values.T)
    assert (np.diag(values) == 1).all()
    assert values.min() >= 0
    assert values.max() <= 1


def test_one_language_in_two_locales_is_equally_like_all_others() -> None:
    matrix = from_features("syntax_knn", tuple(LOCALES))
    left, right = matrix.index("zh-CN"), matrix.index("zh-TW")
    assert matrix.values[left, right] == 1
    assert np.array_equal(np.delete(matrix.values[left], [left, right]), np.delete(matrix.values[right], [left, right]))


def test_a_locale_is_as_similar_whoever_else_is_in_the_matrix() -> None:
    small, large = from_features("syntax_knn", TAGS), from_features("syntax_knn", tuple(LOCALES))
    for row in TAGS:
        for column in TAGS:
            assert small.similarity(row, column) == large.similarity(row, column)


def test_a_mix_is_the_mean_of_its_matrices() -> None:
    mixed = from_features("syntax_knn:3+geography", TAGS).values
    parts = [from_features(name, TAGS).values for name in ("syntax_knn", "geography")]
    np.testing.assert_allclose(mixed, 0.75 * parts[0] + 0.25 * parts[1], atol=1e-15)


def test_languages_without_a_known_feature_in_common_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.array([[1.0, np.nan], [np.nan, 1.0]])
    monkeypatch.setattr(similarity, "features", lambda *_: rows)
    with pytest.raises(UserError, match="has no common features of fi-FI and hu-HU"):
        similarity._from_features.__wrapped__("script", ("fi-FI", "hu-HU"))


@pytest.mark.parametrize("name", ["syntax_knn", "geography"])
def test_the_file_gives_back_the_same_numbers(name: str, tmp_path: Path) -> None:
    matrix = from_features(name, tuple(LOCALES))
    path = tmp_path / "folder" / "matrix.csv"
    write_csv(matrix, path)
    again = read_csv(path)
    assert again.locales == matrix.locales
    assert np.array_equal(again.values, matrix.values)
    assert [entry.name for entry in path.parent.iterdir()] == ["matrix.csv"]


def test_pandas_and_the_file_understand_each_other(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    matrix = from_features("family", TAGS)
    write_csv(matrix, tmp_path / "ours.csv")
    frame = pandas.read_csv(tmp_path / "ours.csv", index_col=0)
    assert tuple(frame.index) == tuple(frame.columns) == TAGS
    np.testing.assert_allclose(frame.to_numpy(), matrix.values, rtol=1e-15)
    frame.to_csv(tmp_path / "theirs.csv")
    assert np.array_equal(read_csv(tmp_path / "theirs.csv").values, frame.to_numpy())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (",a,b\n", "is empty"),
        (",a,b\na,1,0.5\n", "not square: 1 rows and 2 columns"),
        (",a,b\na,1,0.5\nb,0.5\n", "line 3: 2 cells in the row of 'b', but the header has 3"),
        (",a,b\na,1,0.5\nc,0.5,1\n", r"rows and columns differ: c \(row\) stands where b \(column\) does"),
        (",a,b\nb,1,0.5\na,0.5,1\n", "rows and columns differ"),
        (",a,a\na,1,0.5\nb,0.5,1\n", "names the column 'a' twice"),
        (",a,b\na,1,0.5\na,0.5,1\n", "two rows named a"),
        (",a,b\na,1,nan\nb,0.5,1\n", r"a \(row\) and b \(column\) is not finite"),
        (",a,b\na,1,0.5\nb,,1\n", "line 3, row b, column a: the cell is empty"),
        (",a,b\na,1,0.5\nb,inf,1\n", r"b \(row\) and a \(column\) is not finite"),
        (",a,b\na,1,-0.5\nb,0.5,1\n", r"a \(row\) and b \(column\) is negative"),
        (",a,b\na,1,near\nb,0.5,1\n", "line 2, row a, column b: 'near' is not a number"),
    ],
)
def test_broken_files_are_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "matrix.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_csv(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_not_text_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no similarity matrix at"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(UserError, match="no similarity matrix at"):
        read_csv(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="UTF-16"):
        read_csv(tmp_path / "binary.csv")


@pytest.mark.parametrize(
    ("locales", "values", "message"),
    [
        ((), np.zeros((0, 0)), "is empty"),
        (("a", "b"), np.ones((2, 3)), "not square: 2 locales, but values of shape 2 x 3"),
        (("a", "a"), np.ones((2, 2)), "names a twice"),
        (("a", "b"), np.array([[1.0, np.nan], [0.5, 1.0]]), "not finite"),
    ],
)
def test_a_matrix_is_checked_when_made(locales: tuple[str, ...], values: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SimilarityMatrix(locales, values)


def test_a_row_that_is_not_there_is_named() -> None:
    matrix = from_features("syntax_knn", TAGS)
    with pytest.raises(UserError, match="has no row for fi-FI; it has sq-AL, ro-RO"):
        matrix.index("fi-FI")
    with pytest.raises(UserError, match="unknown locale 'fi-FF': did you mean fi-FI"):
        matrix.index("fi-FF")


def test_the_matrix_cannot_be_changed_and_keeps_no_hold_of_what_it_was_made_of() -> None:
    values = np.ones((2, 2))
    matrix = SimilarityMatrix(("a", "b"), values)
    values[0, 1] = 7
    assert matrix.values[0, 1] == 1
    with pytest.raises(ValueError, match="read-only"):
        matrix.values[0, 0] = 2
