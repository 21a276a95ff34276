import subprocess
import sys
import time
from collections import Counter, defaultdict

import pytest
from babel import Locale, numbers, units

from mu_lightning.data.cldr import CldrCorpus
from mu_lightning.data.corpus import SPLITS
from mu_lightning.locales import LOCALES

CORPUS = CldrCorpus()
# What a locale writes as the whole world does ("MHz") says nothing about its language, so CLDR does not translate it.
UNTRANSLATED = {("el-GR", "digital"), ("zh-TW", "digital"), ("he-IL", "graphics"), ("vi-VN", "frequency")}


def _rows(locale: str) -> list[tuple[str, str, str, str]]:
    """Id, text, label and split of every row."""
    return [
        (name, text, CORPUS.label_names[label], split)
        for split in SPLITS
        for rows in [CORPUS.rows(locale, split)]
        for name, text, label in zip(rows.ids, rows.texts, rows.labels, strict=True)
    ]


@pytest.fixture(params=LOCALES)
def tag(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_it_speaks_all_52_locales_of_25_things() -> None:
    assert CORPUS.locales == tuple(LOCALES)
    assert len(CORPUS.label_names) == 25


def test_a_locale_has_2200_to_3400_rows_and_no_label_is_most_of_them(tag: str) -> None:
    labels = Counter(label for _, _, label, _ in _rows(tag))
    assert 2200 <= labels.total() <= 3400
    assert labels.most_common(1)[0][1] < 0.12 * labels.total()
    assert {label for label in CORPUS.label_names if labels[label] < 24} == {
        label for of, label in UNTRANSLATED if of == tag
    }


def test_splits_are_about_70_10_and_20_parts_and_each_has_nearly_every_label(tag: str) -> None:
    rows = _rows(tag)
    for split, low, high in (("train", 0.64, 0.72), ("dev", 0.09, 0.15), ("test", 0.17, 0.24)):
        labels = [label for _, _, label, of in rows if of == split]
        assert low < len(labels) / len(rows) < high
        assert len(set(labels)) >= 22


def test_no_text_is_there_twice_in_a_locale_whatever_its_case(tag: str) -> None:
    texts = Counter(text.casefold() for _, text, _, _ in _rows(tag))
    assert [text for text, times in texts.items() if times > 1] == []


def test_a_concept_is_in_one_split_in_every_locale() -> None:
    splits = defaultdict(set)
    for locale in LOCALES:
        for name, _, label, split in _rows(locale):
            assert name.split("/")[0] == label
            splits[name.rsplit("/", 1)[0]].add(split)
    assert {len(of) for of in splits.values()} == {1}
    assert Counter(of.pop() for of in splits.values())["dev"] > 100


def test_texts_are_in_the_locales_own_letters(tag: str) -> None:
    if LOCALES[tag].script == "Latn":
        assert all(any(letter.isalpha() for letter in text) for _, text, _, _ in _rows(tag))
    else:
        assert all(any(letter.isalpha() and letter > "\u024f" for letter in text) for _, text, _, _ in _rows(tag))


def test_no_text_is_just_its_concepts_code(tag: str) -> None:
    assert [name for name, text, _, _ in _rows(tag) if text.lower() == name.split("/")[1].lower()] == []


@pytest.mark.parametrize(
    ("locale", "name", "text"),
    [
        ("af-ZA", "territory/NO/name", "Noorweë"),
        ("sq-AL", "territory/NL/name", "Holandë"),
        ("zh-TW", "territory/NO/name", "挪威"),
        ("zh-TW", "territory/NL/name", "荷蘭"),
        ("zh-CN", "territory/NL/name", "荷兰"),
        ("nb-NO", "territory/NO/name", "Norge"),  # Babel keeps Norwegian's data under "no"
        ("pt-PT", "territory/PL/name", "Polónia"),  # in Portugal; Polônia in Brazil
        ("pl-PL", "length/length-meter/long-4", "4 metry"),
        ("pl-PL", "length/length-meter/long-15", "15 metrów"),
        ("tl-PH", "territory/QQ/name", None),
    ],
)
def test_names_and_plural_forms_are_the_locales_own(locale: str, name: str, text: str | None) -> None:
    assert {of: found for of, found, _, _ in _rows(locale)}.get(name) == text


@pytest.mark.parametrize("locale", ["de-DE", "pl-PL", "ru-RU", "fr-FR", "ro-RO", "ar-SA", "sl-SL", "cy-GB"])
def test_units_and_amounts_are_those_that_babel_formats(locale: str) -> None:
    # Babel is the reference where it has the plural form itself: from a missing long form it does not go to the short
    # one, as CLDR has it, but writes the unit's name or its id after the number.
    cldr = Locale.parse(LOCALES[locale].cldr)
    compared, equal = Counter[str](), Counter[str]()
    for name, text, label, _ in _rows(locale):
        _, concept, variant = name.split("/")
        if variant[:5] == "long-" and concept.startswith(label):
            count = float(variant[5:])
            if cldr.plural_form(count) not in cldr._data["unit_patterns"][concept].get("long", {}):
                continue
            expected = units.format_unit(count, concept, "long", locale=cldr, numbering_system="default")
        elif label == "currency" and variant != "name":
            expected = numbers.format_currency(
                *(float(variant), concept, "#,##0.###", cldr),
                currency_digits=False,
                format_type="name",
                numbering_system="default",
            )
        else:
            continue
        compared[label] += 1
        equal[label] += " ".join(expected.replace("\u200f", "").split()) == text
    assert compared.total() > 500
    assert compared == equal


def test_numbers_do_not_tell_the_label() -> None:
    labels_of_count = defaultdict(set)
    for name, _, label, _ in _rows("en-US"):
        variant = name.split("/")[2]
        if variant.startswith("long-"):
            labels_of_count[variant].add(label)
    assert min(len(labels) for labels in labels_of_count.values()) > 8


def test_a_locale_is_read_in_well_under_three_seconds() -> None:
    CORPUS.rows("en-US", "train")  # so that Babel is imported and the concepts are known
    start = time.perf_counter()
    CldrCorpus().rows("my-MM", "train")
    assert time.perf_counter() - start < 3


def test_babel_is_imported_only_when_a_locale_is_read() -> None:
    code = "import sys, mu_lightning.data.cldr as c; c.CldrCorpus().label_names; print('babel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
