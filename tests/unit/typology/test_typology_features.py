"""Feature sets: what is read from the installed packages, and what is refused."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.locales import LOCALES
from mu_lightning.typology import databases
from mu_lightning.typology.databases import _PlainArrays, data_file, grambank_table, npz_table
from mu_lightning.typology.features import FEATURE_SETS, features, locales_with_data, parse_mix
from mu_lightning.utilities.errors import UserError

WIDTHS = {"syntax_knn": 103, "phonology_knn": 28, "inventory_knn": 158, "family": 3718, "geography": 299}
LEARNED_LACKS = {"az-AZ", "en-US", "he-IL", "is-IS", "ka-GE", "kn-IN", "ml-IN", "te-IN"}


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_every_set_has_a_row_for_each_locale_with_data(name: str) -> None:
    tags = locales_with_data(name)
    assert set(LOCALES) - set(tags) == (LEARNED_LACKS if name == "learned" else set())
    rows = features(name, tags)
    assert rows.shape[0] == len(tags)
    assert rows.shape[1] == WIDTHS.get(name, rows.shape[1])
    assert rows.dtype == np.float64
    assert not rows.flags.writeable
    assert np.isfinite(rows).any(axis=1).all()
    assert name == "urielplus_syntax" or np.isfinite(rows[:, : WIDTHS.get(name, 1)]).all()


def test_syntax_is_what_the_archive_holds() -> None:
    with np.load(data_file("lang2vec", "data", "feature_predictions.npz"), allow_pickle=False) as archive:
        row = list(archive["langs"]).index("swh")
        expected = [archive["data"][row, column, 0] for column, name in enumerate(archive["feats"]) if name[:2] == "S_"]
    assert features("syntax_knn", ["sw-KE"])[0].tolist() == [float(value) for value in expected]


def test_rows_come_in_the_order_asked_for() -> None:
    forwards, backwards = features("geography", ["sw-KE", "fi-FI"]), features("geography", ["fi-FI", "sw-KE"])
    assert np.array_equal(forwards, backwards[::-1])


def test_the_next_code_is_tried_where_the_first_knows_nothing() -> None:
    names, both = npz_table("lang2vec", "data", "family_features.npz", prefix="F_", codes=[("lvs", "lav"), ("lav",)])
    assert len(names) == 3718
    assert np.array_equal(both[0], both[1])
    _, neither = npz_table("lang2vec", "data", "family_features.npz", prefix="F_", codes=[("lvs",), ("no such code",)])
    assert np.isnan(neither).all()


def test_several_sources_of_one_feature_are_united() -> None:
    names, values = npz_table("lang2vec", "data", "features.npz", prefix="S_", codes=[("deu",)])
    with np.load(data_file("lang2vec", "data", "features.npz"), allow_pickle=False) as archive:
        data, every = archive["data"][list(archive["langs"]).index("deu")], [str(name) for name in archive["feats"]]
    for name, value in zip(names, values[0], strict=True):
        known = [float(each) for each in data[every.index(name)] if each >= 0]
        assert (np.isnan(value) and not known) or value == max(known)


def test_grambank_is_joined_through_glottocodes() -> None:
    names, values = grambank_table("S_", [("fin",), ("afr",)])
    assert values.shape == (2, len(names))
    assert np.isfinite(values[0]).sum() == 121
    assert set(np.unique(values[0])) <= {0.0, 1.0}
    assert np.isnan(values[1]).all()


def test_a_locale_without_data_is_named_with_the_set() -> None:
    with pytest.raises(UserError, match=r"'learned' has no data for az-AZ \(Azerbaijani, tried aze, azj\)"):
        features("learned", ["fi-FI", "az-AZ"])


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("syntax_knn", {"syntax_knn": 1.0}),
        ("syntax_knn:0.75+geography:0.25", {"syntax_knn": 0.75, "geography": 0.25}),
        (" family:3 + script ", {"family": 0.75, "script": 0.25}),
    ],
)
def test_mixes(text: str, shares: dict[str, float]) -> None:
    assert parse_mix(text) == shares


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("syntax_kn", "unknown feature set 'syntax_kn': did you mean syntax_knn"),
        ("", "unknown feature set ''"),
        ("family+", "unknown feature set ''"),
        ("family+family", "twice"),
        ("family:many", "not a number"),
        ("family:", "not a number"),
        ("family:0+script", "positive"),
        ("family:-1", "positive"),
        ("family:nan", "positive"),
        ("family:inf", "positive"),
    ],
)
def test_broken_mixes_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_mix(text)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown locale 'sq-XX': did you mean sq-AL"):
        features("syntax_knn", ["sq-XX"])
    with pytest.raises(UserError, match="unknown feature set 'geografy': did you mean geography"):
        features("geografy", ["sq-AL"])


def test_missing_data_is_reported_as_such() -> None:
    with pytest.raises(UserError, match="pip install no_such_package"):
        npz_table("no_such_package", "data.npz", prefix="", codes=[("fin",)])
    with pytest.raises(UserError, match=r"has no data file data/none\.npz"):
        npz_table("lang2vec", "data", "none.npz", prefix="", codes=[("fin",)])


def test_the_data_are_found_where_a_script_of_the_packages_name_shadows_it() -> None:
    # Programs in the environment's bin/ have that folder first on sys.path, and lang2vec installs bin/lang2vec.py.
    code = (
        "import sys; sys.path.insert(0, str(__import__('pathlib').Path(sys.executable).parent)); "
        "from mu_lightning.typology.features import features; print(features('family', ['nl-NL']).shape)"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


class _Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("executed",))


def test_a_pickle_that_names_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "learned.npy"
    np.save(path, np.array({"fin": _Harmful()}, dtype=object), allow_pickle=True)
    monkeypatch.setattr(databases, "data_file", lambda *_: path)
    with pytest.raises(UserError, match=r"print is not plain data"):
        databases.learned_table([("fin",)])
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("module", ["os", "numpy.lib", "numpy.core.multiarray", "codecs"])
def test_the_unpickler_admits_nothing_but_arrays(module: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.pickle"
    path.write_bytes(b"N.")
    with path.open("rb") as file, pytest.raises(pickle.UnpicklingError):
        _PlainArrays(file).find_class(module, "system")


def test_another_codec_than_latin1_is_refused() -> None:
    assert databases._latin1("é", "latin1") == b"\xe9"
    with pytest.raises(pickle.UnpicklingError):
        databases._latin1("x", "rot13")


def test_typology_imports_nothing_heavy() -> None:
    code = (
        "import sys; import mu_lightning.typology.plan, mu_lightning.commands.similarity; "
        "print(sorted({'torch', 'pandas', 'scipy', 'matplotlib', 'lightning', 'transformers', 'lang2vec', 'urielplus'} "
        "& set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"
