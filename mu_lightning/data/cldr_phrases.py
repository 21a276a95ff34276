"""The phrases that CLDR gives a locale, by what they speak of: units, money, places, languages, scripts, dates, times.

Source: the Unicode Common Locale Data Repository (https://cldr.unicode.org), as packaged with Babel. What a locale
leaves untranslated is left out: a pattern that is the root locale's, a name that is its own code, a text without a
letter, and, in a locale that does not write in Latin letters, a text in Latin letters only.
"""

import datetime
import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from babel import Locale

# Counts of every plural form. All labels draw from the same ones: a number must not tell a label.
_COUNTS = (
    *(0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 11, 12, 15, 18, 20, 21, 25, 30, 42, 50, 61, 75, 100, 102, 250, 1000),
)
_DIMENSIONS = (
    *("area", "consumption", "digital", "duration", "electric", "energy", "frequency", "graphics", "length", "mass"),
    *("power", "pressure", "speed", "temperature", "volume"),
)
# Of these CLDR has few units or none, but it has a pattern for every unit per time.
_PER_TIME = {
    "speed": ("length-centimeter", "length-foot", "length-kilometer", "length-meter", "length-mile"),
    "flow": ("volume-barrel", "volume-cubic-foot", "volume-cubic-meter", "volume-gallon", "volume-liter"),
}
# Orders the concepts before they are split. Chosen by the concepts' names alone: where a dimension has three or four
# units, what is tested (milliampere, degrees Celsius) must have kin to learn from (ampere, degrees Fahrenheit).
_SEED = 111
# CLDR locales that name little which others do not.
_BRIEF = ("km", "jv")
_TIMES = ("second", "minute", "hour", "day")
_FIELDS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {"language": "languages", "script": "scripts", "territory": "territories"}
LABELS = tuple(
    sorted({*_DIMENSIONS, *_PER_TIME, *_NAMES, "currency", "date", "number", "relative_time", "time", "time_zone"})
)
# How many of the hundreds of concepts to take, so that no label is the most of a locale's rows.
_MOST = {
    **{"currency": 80, "date": 70, "language": 230, "number": 110},
    **{"script": 160, "territory": 230, "time": 70, "time_zone": 100},
}
_ROWS_OF_A_DIMENSION = 100
_BIDI_MARKS = dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))


def rank(*key: object) -> int:
    """A number to sort by: the same on every machine, unrelated to what the key says."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:8], "big")


@cache
def concepts(label: str) -> tuple[str, ...]:
    """The concepts of a label, the same for every locale, in the order of their rank."""
    found = sorted(set(_inventory(label)), key=lambda concept: rank(_SEED, label, concept))
    return tuple(found[: _MOST.get(label)])


def phrases(cldr: str, script: str, label: str, concept: str) -> Iterator[tuple[str, str]]:
    """What a locale calls a concept: pairs of a variant, such as the count, and its translated text.

    Args:
        cldr: the locale, as Babel spells it.
        script: the script that the locale writes in (ISO 15924).
        label: what is spoken of, one of `LABELS`.
        concept: one of the label's `concepts`.
    """
    for variant, raw in _variants(_locale(cldr), label, concept):
        text = " ".join(raw.translate(_BIDI_MARKS).split())
        if text.lower() != concept.lower() and _has_own_letters(text, script):
            yield variant, text


def _inventory(label: str) -> Iterator[str]:
    if label in _DIMENSIONS or label in _PER_TIME:
        units = _named_widely("unit_patterns")
        yield from (unit for unit in units if unit.startswith(f"{label}-") and not unit.endswith("-person"))
        for numerator in _PER_TIME.get(label, ()):
            for time in _TIMES:
                if f"{label}-{numerator.split('-', 1)[1]}-per-{time}" not in units:
                    yield f"{numerator}-per-{time}"
    elif label in _NAMES:
        yield from (code for code in _named_widely(_NAMES[label]) if not code.isdigit() and "_" not in code)
    elif label == "currency":
        yield from _named_widely("currency_names")
    elif label == "time_zone":
        yield from _named_widely("meta_zones")
    elif label == "relative_time":
        yield from (*_FIELDS, *_WEEKDAYS)
    elif label == "date":
        first = datetime.date(1950, 1, 1)
        yield from (str(first + datetime.timedelta(rank("day", n) % 40_000)) for n in range(2 * _MOST[label]))
    elif label == "time":
        yield from (f"{minute // 60:02}:{minute % 60:02}" for minute in range(24 * 60))
    elif label == "number":
        for n in range(2 * _MOST[label]):
            yield str((10 + rank("digits", n) % 90) * 10 ** (2 + rank("zeros", n) % 11))


@cache
def _named_widely(section: str) -> tuple[str, ...]:
    """The keys that English and the brief locales name, and so nearly every locale."""
    english, *others = (_locale(name) for name in ("en", *_BRIEF))
    keys = _data(english)[section]
    if section == "scripts":  # of which the brief ones have too few
        return tuple(keys)
    if section == "unit_patterns":
        return tuple(key for key in keys if all(_patterns(other, key, "long").get("other") for other in others))
    return tuple(key for key in keys if all(key in _data(other)[section] for other in others))


def _variants(locale: "Locale", label: str, concept: str) -> Iterator[tuple[str, str]]:
    if label in _NAMES:
        yield "name", _data(locale)[_NAMES[label]].get(concept, "")
    elif label == "currency":
        yield from _currency(locale, concept)
    elif label == "time_zone":
        yield from _data(locale)["meta_zones"].get(concept, {}).get("long", {}).items()
    elif label == "relative_time":
        yield from _relative_time(locale, concept)
    elif label == "date":
        yield from _date(locale, datetime.date.fromisoformat(concept))
    elif label == "time":
        yield from _time(locale, datetime.time.fromisoformat(concept))
    elif label == "number":
        yield from _number(locale, int(concept))
    else:
        yield from _unit(locale, label, concept)


def _unit(locale: "Locale", label: str, concept: str) -> Iterator[tuple[str, str]]:
    per_unit = _ROWS_OF_A_DIMENSION // len(concepts(label))
    unit, _, time = concept.partition("-per-")
    is_rate = not concept.startswith(f"{label}-")
    for length, size in (("long", min(max(per_unit, 3), 12)), ("short", min(max(per_unit // 3, 1), 4))):
        patterns = _patterns(locale, unit if is_rate else concept, length)
        around = _patterns(locale, f"duration-{time}", length).get("per") if is_rate else "{0}"
        for count in _counts(size, label, concept, length):
            text = _counted(locale, patterns, count)
            if text and around:
                yield f"{length}-{count}", around.replace("{0}", text)


def _currency(locale: "Locale", code: str) -> Iterator[tuple[str, str]]:
    name = _data(locale)["currency_names"].get(code)
    if not name:
        return
    yield "name", name
    names = _data(locale)["currency_names_plural"].get(code, {})
    for count in _counts(2, "currency", code):
        pattern = _by_plural(locale, _data(locale)["currency_unit_patterns"], count)
        if pattern:
            amount = pattern.replace("{0}", _decimal(locale, count))
            yield str(count), amount.replace("{1}", _by_plural(locale, names, count) or name)


def _relative_time(locale: "Locale", field: str) -> Iterator[tuple[str, str]]:
    for direction in ("future", "past"):
        root = set(_root()["date_fields"].get(field, {}).get(direction, {}).values())
        patterns = _without(root, _data(locale)["date_fields"].get(field, {}).get(direction, {}))
        for count in _counts(4, "relative_time", field, direction):
            text = _counted(locale, patterns, count)
            if text:
                yield f"{direction}-{count}", text


def _date(locale: "Locale", day: datetime.date) -> Iterator[tuple[str, str]]:
    from babel import dates

    yield from ((length, dates.format_date(day, length, locale)) for length in ("full", "long"))


def _time(locale: "Locale", time: datetime.time) -> Iterator[tuple[str, str]]:
    """The time with the part of the day, alone and after the day of the week."""
    from babel import dates

    moment = datetime.datetime.combine(datetime.date(2024, 1, 1 + rank("weekday", time) % 7), time)
    for skeleton in ("Bhm", "EBhm"):
        yield skeleton, dates.format_skeleton(skeleton, moment, locale=locale)


def _number(locale: "Locale", number: int) -> Iterator[tuple[str, str]]:
    from babel import numbers

    for style in ("long", "short"):  # a locale without long forms has them as its short ones
        own = _data(locale)["compact_decimal_formats"].get(style)
        if own and str(own) != str(_root()["compact_decimal_formats"].get(style)):
            yield "compact", numbers.format_compact_decimal(number, format_type=style, locale=locale, fraction_digits=1)
            return


def _patterns(locale: "Locale", unit: str, length: str) -> dict[str, str | None]:
    """A unit's patterns by plural form, and the one for ``per`` it; None for what is not translated.

    Long patterns that a locale does not have are its short ones, as CLDR has it.
    """
    of_unit = _data(locale)["unit_patterns"].get(unit, {})
    patterns = {**of_unit.get(length, {})}
    if length == "long":
        short = of_unit.get("short", {})
        patterns = {**(patterns if "other" in patterns else short), "per": patterns.get("per") or short.get("per")}
    return _without(set(_root()["unit_patterns"].get(unit, {}).get("short", {}).values()), patterns)


def _without(untranslated: set[str], patterns: Mapping[str, str | None]) -> dict[str, str | None]:
    # The forms stay: where one form of many reads as in the root locale, another must not stand in for it.
    return {form: None if pattern in untranslated else pattern for form, pattern in patterns.items()}


def _counts(size: int, *key: str) -> list[float]:
    return sorted(sorted(_COUNTS, key=lambda count: rank(*key, count))[:size])


def _counted(locale: "Locale", patterns: Mapping[str, str | None], count: float) -> str | None:
    pattern = _by_plural(locale, patterns, count)
    return pattern and pattern.replace("{0}", _decimal(locale, count))


def _by_plural(locale: "Locale", texts: Mapping[str, str | None], count: float) -> str | None:
    form = locale.plural_form(count)
    return texts[form] if form in texts else texts.get("other")


def _decimal(locale: "Locale", number: float) -> str:
    from babel import numbers

    return numbers.format_decimal(number, locale=locale, numbering_system="default")


def _has_own_letters(text: str, script: str) -> bool:
    letters = [character for character in text if unicodedata.category(character)[0] == "L"]
    if script == "Latn":
        return bool(letters)
    return any("LATIN" not in unicodedata.name(letter, "") for letter in letters)


@cache
def _locale(cldr: str) -> "Locale":
    from babel import Locale

    return Locale.parse(cldr)


@cache
def _data(locale: "Locale") -> Mapping[str, Any]:
    """All that CLDR says of a locale; the locale itself gives out no more than a part of it."""
    from babel import localedata

    return localedata.LocaleDataDict(localedata.load(str(locale)))


@cache
def _root() -> Any:
    from babel import localedata

    return localedata.load("root")
