"""Any language by its BCP-47 tag or ISO 639-3 code, resolved by `langcodes` to the codes that URIEL may have.

A language goes by several codes: its own, its macro-language's (``zho`` for ``cmn``), or those of the individual
languages of a macro-language. Typological resources use either, so all of them are tried.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from mu_lightning.utilities.errors import UserError, unknown

if TYPE_CHECKING:
    from langcodes import Language

# ISO 639-2 codes that name no language: undetermined, several, uncoded, none.
_NO_LANGUAGE = {"und", "mul", "mis", "zxx"}
_PRIVATE_TERRITORY = re.compile("AA|Q[M-Z]|X[A-JL-Z]|ZZ")  # ISO 3166-1 leaves these to users
_HINT = "expected a BCP-47 tag such as yo or sw-KE, or an ISO 639-3 code such as yor"


@lru_cache(maxsize=4096)
def parse(tag: str) -> "Language | None":
    """The language that a tag names, deprecated codes replaced; None where it names none."""
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
    """A valid tag's language in English."""
    found = parse(tag)
    assert found is not None
    return found.language_name()


def script_of(tag: str) -> str:
    """The script that a valid tag names or its language is likely written in (ISO 15924)."""
    found = parse(tag)
    assert found is not None
    return found.maximize().script or "Zyyy"


@lru_cache(maxsize=4096)
def iso639_3(tag: str) -> tuple[str, ...]:
    """The codes of a valid tag's language, in the order to try them: its own, its macro-language's, others.

    Last are ISO 639-2's bibliographic ones, by which some of lang2vec's vectors go.

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
    """The error for what is no language's tag: the tag of the language of that name, or the nearest known tags.

    Args:
        given: what was given.
        known: tags that are close at hand, such as a corpus'.
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
    """Whether two valid tags name one language, whatever their script and territory."""
    return bool(set(iso639_3(one)[:1]) & set(iso639_3(other))) or bool(set(iso639_3(other)[:1]) & set(iso639_3(one)))


def not_among(what: str, tag: str, known: Sequence[str], more: str = "") -> UserError:
    """The error for a language that something does not have: the tags of the same language that it has, or all if few.

    Args:
        what: what does not have it, such as ``the corpus cldr``.
        tag: the language's tag, as it was given.
        known: the tags that it has.
        more: what to do, for the end of the message.
    """
    if parse(tag) is None:
        return no_language(tag, known)
    same = [one for one in known if parse(one) is not None and same_language(one, tag)]
    if same:
        return UserError(f"{what} has no locale '{tag}': did you mean {' or '.join(same)}?")
    has = f"it has {', '.join(sorted(known))}" if len(known) <= 12 else f"it has {len(known)} others"
    return UserError(f"{what} has no locale '{tag}' ({name_of(tag)}): {has}{more and '; '}{more}")
