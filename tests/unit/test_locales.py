import subprocess
import sys

import numpy as np
import pytest
from babel import Locale as BabelLocale
from babel.core import get_global

from mu_lightning.locales import LOCALES, is_language, locale, locale_list
from mu_lightning.typology.databases import data_file
from mu_lightning.utilities.errors import UserError

TAGS = (
    *(
        "af-ZA",
        "am-ET",
        "ar-SA",
        "az-AZ",
        "bn-BD",
        "ca-ES",
        "cy-GB",
        "da-DK",
        "de-DE",
        "el-GR",
        "en-US",
        "es-ES",
        "fa-IR",
    ),
    *(
        "fi-FI",
        "fr-FR",
        "he-IL",
        "hi-IN",
        "hu-HU",
        "hy-AM",
        "id-ID",
        "is-IS",
        "it-IT",
        "ja-JP",
        "jv-ID",
        "ka-GE",
        "km-KH",
    ),
    *(
        "kn-IN",
        "ko-KR",
        "lv-LV",
        "ml-IN",
        "mn-MN",
        "ms-MY",
        "my-MM",
        "nb-NO",
        "nl-NL",
        "pl-PL",
        "pt-PT",
        "ro-RO",
        "ru-RU",
    ),
    *(
        "sl-SL",
        "sq-AL",
        "sv-SE",
        "sw-KE",
        "ta-IN",
        "te-IN",
        "th-TH",
        "tl-PH",
        "tr-TR",
        "ur-PK",
        "vi-VN",
        "zh-CN",
        "zh-TW",
    ),
)


def _uriel(name: str, member: str) -> np.ndarray:
    path = data_file("lang2vec", "data", f"{name}.npz")
    with np.load(path, allow_pickle=True) as file:
        return file[member]


def test_the_table_holds_massives_52_locales_by_tag() -> None:
    assert tuple(LOCALES) == TAGS
    assert all(entry.tag == tag for tag, entry in LOCALES.items())


@pytest.mark.parametrize("name", ["feature_predictions", "features", "family_features", "geocoord_features"])
def test_uriel_knows_every_language_under_its_code(name: str) -> None:
    known = set(_uriel(name, "langs"))
    assert [entry.tag for entry in LOCALES.values() if entry.iso639_3 not in known] == []


def test_of_a_languages_codes_the_one_with_most_observed_syntax_stands_first() -> None:
    places = {code: place for place, code in enumerate(_uriel("features", "langs"))}
    syntax = [place for place, name in enumerate(_uriel("features", "feats")) if str(name).startswith("S_")]
    data = _uriel("features", "data")
    for entry in LOCALES.values():
        observed = [(data[places[code]][syntax].max(-1) >= 0).sum() if code in places else 0 for code in entry.uriel]
        assert observed[0] > 0
        assert observed == sorted(observed, reverse=True), entry.tag


def test_languages_that_are_not_the_same_have_different_codes() -> None:
    codes = [entry.iso639_3 for entry in LOCALES.values()]
    assert {code for code in codes if codes.count(code) > 1} == {"zho"}


@pytest.mark.parametrize("tag", TAGS)
def test_cldr_has_the_locale_and_agrees_on_its_language_script_and_territory(tag: str) -> None:
    entry = LOCALES[tag]
    cldr = BabelLocale.parse(entry.cldr)
    likely = get_global("likely_subtags")
    language, script, territory = (likely.get(entry.cldr) or likely[cldr.language]).split("_")
    assert language == {"tl": "fil"}.get(tag[:2], tag[:2])
    assert (cldr.script or script) == entry.script
    assert (cldr.territory or territory) == {"sl-SL": "SI"}.get(tag, tag[3:])
    assert (cldr.english_name or "").startswith(
        {"bn-BD": "Bangla", "tl-PH": "Filipino"}.get(tag, entry.name.split()[0])
    )


def test_an_unknown_locale_is_refused_with_the_nearest_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown locale 'sx-KE': did you mean .*sw-KE"):
        locale("sx-KE")
    assert locale("sw-KE").name == "Swahili"


@pytest.mark.parametrize(
    ("tag", "name", "codes", "script"),
    [
        ("yo", "Yoruba", ("yor",), "Latn"),
        ("yor", "Yoruba", ("yor",), "Latn"),
        ("eu-ES", "Basque", ("eus", "baq"), "Latn"),
        ("iw", "Hebrew", ("heb",), "Hebr"),  # deprecated
        ("sr-Latn", "Serbian", ("srp",), "Latn"),
        ("yue", "Cantonese", ("yue",), "Hant"),
    ],
)
def test_any_language_is_resolved_from_its_tag(tag: str, name: str, codes: tuple[str, ...], script: str) -> None:
    entry = locale(tag)
    assert (entry.tag, entry.name, entry.script) == (tag, name, script)
    assert entry.uriel[: len(codes)] == codes


@pytest.mark.parametrize(
    ("tag", "tabled"),
    [("no", "nb-NO"), ("nb", "nb-NO"), ("zh-HK", "zh-TW"), ("cmn", "zh-CN"), ("sl-SI", "sl-SL"), ("fa", "fa-IR")],
)
def test_a_language_of_the_table_has_its_codes_under_any_tag(tag: str, tabled: str) -> None:
    assert locale(tag).uriel == LOCALES[tabled].uriel


def test_a_macro_language_has_the_codes_of_its_languages_and_they_have_its() -> None:
    assert {"que", "quz"} <= set(locale("qu").uriel)
    assert locale("quz").uriel[:2] == ("quz", "que")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("Albanian", "'Albanian' is a language's name, not its tag: write sq or sq-AL"),
        ("data", "unknown language 'data': expected a BCP-47 tag such as yo or sw-KE, or an ISO 639-3 code"),
        ("sq-XX", "unknown locale 'sq-XX': did you mean sq-AL"),  # a private territory
        ("", "unknown language ''"),
    ],
)
def test_what_is_no_tag_is_refused_in_one_line(given: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        locale(given)
    assert str(raised.value).startswith(message)
    assert len(str(raised.value)) < 160
    assert not is_language(given)


def test_the_table_is_read_without_importing_anything_heavy() -> None:
    code = "import sys, mu_lightning.locales; print({'numpy', 'babel', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("given", ["nl-NL,de-DE,nl-NL", ["nl-NL", "de-DE nl-NL"]])
def test_a_list_that_names_a_locale_twice_is_refused(given: str | list[str]) -> None:
    with pytest.raises(UserError, match="the locale nl-NL is named twice"):
        locale_list(given)
