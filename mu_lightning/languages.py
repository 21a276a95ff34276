"""Languages by BCP-47 tag or ISO 639-3 code, resolved with `langcodes` to the codes of URIEL.

A language has several codes: its own, that of its macrolanguage (``zho`` for ``cmn``), or those of the individual
languages of a macrolanguage. Typological resources use any of these, so all are tried.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from mu_lightning.utilities.errors import UserError, unknown

if TYPE_CHECKING:
    from langcodes import Language

# Special ISO 639-2 codes: undetermined, multiple, uncoded, no language.
_NO_LANGUAGE = {"und", "mul", "mis", "zxx"}
_PRIVATE_TERRITORY = re.compile("AA|Q[M-Z]|X[A-JL-Z]|ZZ")  # private-use codes of ISO 3166-1
_HINT = "expected a BCP-47 tag such as yo or sw-KE, or an ISO 639-3 code such as yor"


@lru_cache(maxsize=4096)
def parse(tag: str) -> "Language | None":
    """Parses a tag, with deprecated codes replaced; None for an unknown language."""
    import langcodes

    try:
        found = langcodes.Language.get(tag)
    except (langcodes.LanguageTagError, ValueError):
        return None
    primary = found.language
    if primary is None or not 2 <= len(primary) <= 3 or primary in _NO_LANGUAGE or "qaa" <= primary <= "qtz":
        return None
    if _PRIVATE_TERRITORY.fullmatch(found.territory or ""):
        return None
    return found if found.is_valid() else None


def name_of(tag: str) -> str:
    """English name of the language of a tag."""
    found = parse(tag)
    assert found is not None
    return found.language_name()


def script_of(tag: str) -> str:
    """Script of a tag, or the likely script of its language (ISO 15924)."""
    found = parse(tag)
    assert found is not None
    return found.maximize().script or "Zyyy"


@lru_cache(maxsize=4096)
def iso639_3(tag: str) -> tuple[str, ...]:
    """ISO 639-3 codes of a tag's language in order of preference: its own, of its macrolanguage, others.

    The last ones are bibliographic ISO 639-2 codes, which lang2vec uses for some vectors.

    >>> iso639_3("cmn"), iso639_3("iw")
    (('cmn', 'zho', 'chi'), ('heb',))
    """
    import langcodes
    from langcodes.data_dicts import MACROLANGUAGES

    found = parse(tag)
    assert found is not None
    own = langcodes.Language.get(tag, normalize=False)
    macro = found.prefer_macrolanguage()
    members = [code for code, over in MACROLANGUAGES.items() if over == found.language]
    languages = [own, found, macro, *map(langcodes.Language.get, members)]
    codes = [_alpha3(one) for one in languages] + [_alpha3(one, "B") for one in languages]
    return tuple(dict.fromkeys(code for code in codes if code is not None))


def _alpha3(language: "Language", variant: str = "T") -> str | None:
    try:
        return language.to_alpha3(variant)
    except LookupError:
        return None


def no_language(given: str, known: Iterable[str]) -> UserError:
    """The error for an invalid language tag, with suggestions.

    Args:
        given: the given value.
        known: known tags, such as those of a corpus.
    """
    import langcodes

    try:
        tag = langcodes.find(given).to_tag()
    except LookupError:
        error = unknown("locale", given, known)
        return error if "did you mean" in str(error) else UserError(f"unknown language '{given}': {_HINT}")
    tags = [tag, *(one for one in known if parse(one) is not None and same_language(one, tag))]
    return UserError(f"'{given}' is a language's name, not its tag: write {' or '.join(dict.fromkeys(tags))}")


def same_language(one: str, other: str) -> bool:
    """Whether two tags have the same language, ignoring script and territory."""
    return bool(set(iso639_3(one)[:1]) & set(iso639_3(other))) or bool(set(iso639_3(other)[:1]) & set(iso639_3(one)))


def not_among(what: str, tag: str, known: Sequence[str], more: str = "") -> UserError:
    """The error for a language that is not available, with available tags of the same language.

    Args:
        what: the resource, such as ``the corpus cldr``.
        tag: the given tag.
        known: available tags.
        more: advice at the end of the message.
    """
    if parse(tag) is None:
        return no_language(tag, known)
    same = [one for one in known if parse(one) is not None and same_language(one, tag)]
    if same:
        return UserError(f"{what} has no locale '{tag}': did you mean {' or '.join(same)}?")
    has = f"it has {', '.join(sorted(known))}" if len(known) <= 12 else f"it has {len(known)} others"
    return UserError(f"{what} has no locale '{tag}' ({name_of(tag)}): {has}{more and '; '}{more}")
