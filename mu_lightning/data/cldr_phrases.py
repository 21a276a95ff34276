"""Phrases of CLDR by category: units, money, places, languages, scripts, dates, times.

Source: the Unicode Common Locale Data Repository (https://cldr.unicode.org), as packaged with Babel. Untranslated
phrases are excluded: patterns of the root locale, names equal to their codes, texts without letters, and texts in Latin
script in locales of other scripts.
"""

import datetime
import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from babel import Locale

# Counts of every plural form. All labels share them: a number must not reveal the label.
_COUNTS = (
    *(0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 10, 11, 12, 15, 18, 20, 21, 25, 30, 42, 50, 61, 75, 100, 102, 250, 1000),
)
_DIMENSIONS = (
    *("area", "consumption", "digital", "duration", "electric", "energy", "frequency", "graphics", "length", "mass"),
    *("power", "pressure", "speed", "temperature", "volume"),
)
# CLDR has few or no units of these, but a pattern for every unit per time.
_PER_TIME = {
    "speed": ("length-centimeter", "length-foot", "length-kilometer", "length-meter", "length-mile"),
    "flow": ("volume-barrel", "volume-cubic-foot", "volume-cubic-meter", "volume-gallon", "volume-liter"),
}
# Seed of the order of concepts, chosen by their names only: for dimensions with three or four units, test concepts
# (milliampere, degrees Celsius) need related train concepts (ampere, degrees Fahrenheit).
_SEED = 111
# CLDR locales with few names.
_BRIEF = ("km", "jv")
_TIMES = ("second", "minute", "hour", "day")
_FIELDS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMES = {"language": "languages", "script": "scripts", "territory": "territories"}
LABELS = tuple(
    sorted({*_DIMENSIONS, *_PER_TIME, *_NAMES, "currency", "date", "number", "relative_time", "time", "time_zone"})
)
# Maximum number of concepts per label, to balance the labels.
_MOST = {
    **{"currency": 80, "date": 70, "language": 230, "number": 110},
    **{"script": 160, "territory": 230, "time": 70, "time_zone": 100},
}
_ROWS_OF_A_DIMENSION = 100
_BIDI_MARKS = dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))


def rank(*key: object) -> int:
    """Returns a reproducible pseudo-random sort key."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, key)).encode()).digest()[:8], "big")


@cache
def concepts(label: str) -> tuple[str, ...]:
    """Returns the concepts of a label by rank, the same for every locale."""
    found = sorted(set(_inventory(label)), key=lambda concept: rank(_SEED, label, concept))
    return tuple(found[: _MOST.get(label)])


def phrases(cldr: str, script: str, label: str, concept: str) -> Iterator[tuple[str, str]]:
    """Returns the phrases of a concept in a locale: pairs of variant, such as a count, and text.

    Args:
        cldr: locale id of Babel.
        script: script of the locale (ISO 15924).
        label: one of `LABELS`.
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
    """Returns keys that are named in English and in locales with few names."""
    english, *others = (_locale(name) for name in ("en", *_BRIEF))
    keys = _data(english)[section]
    if section == "scripts":  # too few in locales with few names
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
    """Yields times with the part of the day, with and without the day of the week."""
    from babel import dates

    moment = datetime.datetime.combine(datetime.date(2024, 1, 1 + rank("weekday", time) % 7), time)
    for skeleton in ("Bhm", "EBhm"):
        yield skeleton, dates.format_skeleton(skeleton, moment, locale=locale)


def _number(locale: "Locale", number: int) -> Iterator[tuple[str, str]]:
    from babel import numbers

    for style in ("long", "short"):  # fallback to short forms
        own = _data(locale)["compact_decimal_formats"].get(style)
        if own and str(own) != str(_root()["compact_decimal_formats"].get(style)):
            yield "compact", numbers.format_compact_decimal(number, format_type=style, locale=locale, fraction_digits=1)
            return


def _patterns(locale: "Locale", unit: str, length: str) -> dict[str, str | None]:
    """Returns the patterns of a unit by plural form, and its ``per`` pattern; None if untranslated.

    Missing long patterns fall back to short ones, as in CLDR.
    """
    of_unit = _data(locale)["unit_patterns"].get(unit, {})
    patterns = {**of_unit.get(length, {})}
    if length == "long":
        short = of_unit.get("short", {})
        patterns = {**(patterns if "other" in patterns else short), "per": patterns.get("per") or short.get("per")}
    return _without(set(_root()["unit_patterns"].get(unit, {}).get("short", {}).values()), patterns)


def _without(untranslated: set[str], patterns: Mapping[str, str | None]) -> dict[str, str | None]:
    # Keep the forms: an untranslated form must not be replaced by another.
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
    """Returns all CLDR data of a locale."""
    from babel import localedata

    data: Any = localedata.load(str(locale))
    return localedata.LocaleDataDict(data)


@cache
def _root() -> Any:
    from babel import localedata

    return localedata.load("root")
