"""Every locale against every table of lang2vec and URIEL+: no data is missed for being under another code."""

import csv
from collections.abc import Iterable
from functools import cache

import numpy as np
import pytest
from babel.core import get_global

from mu_lightning.locales import LOCALES
from mu_lightning.typology.databases import _PlainArrays, data_file
from mu_lightning.typology.features import FEATURE_SETS, features, locales_with_data

# What lang2vec's learned vectors have under no code: they are of Bible translations, read from English.
WITHOUT_LEARNED = {"az-AZ", "en-US", "he-IL", "is-IS", "ka-GE", "kn-IN", "ml-IN", "te-IN"}
# Codes that CLDR takes for the language of a locale, but ISO 639-3 for another one: Dari (of Afghanistan), Darkhat,
# and Swahili of the Congo.
OTHER_LANGUAGES = {"drw", "prs", "tnf", "drh", "swc"}
# The archives that a feature set reads, and the prefix of its features in them.
ARCHIVES = {
    "syntax_knn": ("lang2vec", ("data", "feature_predictions.npz"), "S_"),
    "phonology_knn": ("lang2vec", ("data", "feature_predictions.npz"), "P_"),
    "inventory_knn": ("lang2vec", ("data", "feature_predictions.npz"), "INV_"),
    "family": ("lang2vec", ("data", "family_features.npz"), "F_"),
    "geography": ("lang2vec", ("data", "geocoord_features.npz"), "GC_"),
    "script": ("urielplus", ("database", "original_uriel", "script_features.npz"), "SC_"),
    "urielplus_syntax": ("lang2vec", ("data", "features.npz"), "S_"),
}


def language_codes(tag: str) -> set[str]:
    """Every code of three letters that CLDR knows of a locale's language, and ours."""
    entry = LOCALES[tag]
    language = {"nb": "no"}.get(tag[:2], tag[:2])
    same = {language, tag[:2], entry.cldr.partition("_")[0]}
    aliases = {code for code, name in get_global("language_aliases").items() if name.partition("_")[0] in same}
    return {code for code in aliases if len(code) == 3} - OTHER_LANGUAGES | set(entry.uriel)


@cache
def codes_with_data(feature_set: str) -> frozenset[str]:
    """The codes under which the files of a feature set have anything, read here without the reader under test."""
    if feature_set == "learned":
        with data_file("lang2vec", "data", "learned.npy").open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            return frozenset(_PlainArrays(file).load().item()) - {"langs"}
    package, path, prefix = ARCHIVES[feature_set]
    with np.load(data_file(package, *path), allow_pickle=False) as archive:
        columns = [place for place, name in enumerate(archive["feats"]) if str(name).startswith(prefix)]
        known = (archive["data"][:, columns] > 0).any(axis=(1, 2))
        found = {str(code) for code, anything in zip(archive["langs"], known, strict=True) if anything}
    return frozenset(found | (_grambank_codes() if feature_set == "urielplus_syntax" else set()))


def _grambank_codes() -> set[str]:
    folder = ("database", "urielplus_csvs")
    with data_file("urielplus", *folder, "grambank_data.csv").open(encoding="utf-8") as lines:
        glottocodes = {row[0] for row in csv.reader(lines)}
    with data_file("urielplus", *folder, "uriel_glottocode_map.csv").open(encoding="utf-8") as lines:
        return {row["iso_code"] for row in csv.DictReader(lines) if row["glottocode"] in glottocodes}


def _with_any(codes: Iterable[str], feature_set: str) -> set[str]:
    return set(codes) & codes_with_data(feature_set)


def test_the_files_of_every_feature_set_are_looked_through() -> None:
    assert set(ARCHIVES) | {"learned"} == set(FEATURE_SETS)


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_a_locale_has_a_row_wherever_a_table_has_one_of_its_languages_codes(feature_set: str) -> None:
    having = {tag for tag in LOCALES if _with_any(language_codes(tag), feature_set)}
    assert set(locales_with_data(feature_set)) == having
    assert set(LOCALES) - having == (WITHOUT_LEARNED if feature_set == "learned" else set())


@pytest.mark.parametrize("feature_set", FEATURE_SETS)
def test_the_row_is_that_of_the_first_of_its_codes_with_data(feature_set: str) -> None:
    known = codes_with_data(feature_set)
    tags = locales_with_data(feature_set)
    rows = features(feature_set, tags)
    if feature_set == "urielplus_syntax":  # a union of two tables, each by its own first code: test_typology_features
        assert np.isfinite(rows).any(axis=1).all()
        return
    first = [next(code for code in LOCALES[tag].uriel if code in known) for tag in tags]
    assert np.array_equal(rows, FEATURE_SETS[feature_set]([(code,) for code in first]), equal_nan=True)


@pytest.mark.parametrize("tag", LOCALES)
def test_codes_of_the_language_that_any_table_has_are_the_locales(tag: str) -> None:
    anywhere = frozenset().union(*map(codes_with_data, FEATURE_SETS))
    assert language_codes(tag) & anywhere <= set(LOCALES[tag].uriel)


def test_bibliographic_codes_are_tried_too() -> None:
    # ISO 639-2 has two codes for 20 languages: these are MASSIVE's among them.
    bibliographic = {
        "cy-GB": "wel",
        "de-DE": "ger",
        "el-GR": "gre",
        "fa-IR": "per",
        "fr-FR": "fre",
        "hy-AM": "arm",
        "is-IS": "ice",
        "ka-GE": "geo",
        "ms-MY": "may",
        "my-MM": "bur",
        "nl-NL": "dut",
        "ro-RO": "rum",
        "sq-AL": "alb",
        "zh-CN": "chi",
        "zh-TW": "chi",
    }
    codes = {code for entry in LOCALES.values() for code in entry.uriel}
    assert {tag: code for tag, code in bibliographic.items() if code not in LOCALES[tag].uriel} == {}
    # The others' (Basque, Czech, Macedonian, Maori, Slovak, Tibetan) are no code of ours.
    assert codes.isdisjoint({"baq", "cze", "mac", "mao", "slo", "tib"})
    assert np.isfinite(features("learned", ["sq-AL"])).all()
