"""Locales: what a language is called in the resources that this project joins.

The table holds the 52 that MASSIVE and the embedded corpus cover; any other language is resolved from its tag.

Sources: MASSIVE (arXiv:2204.08582) for the tags, CLDR (https://cldr.unicode.org) for its ids, ISO 15924 for scripts,
ISO 639-3 for languages, and URIEL (Littell et al. 2017, https://aclanthology.org/E17-2002) for which code has data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from mu_lightning import languages
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class Locale:
    """A locale and its names elsewhere.

    Attributes:
        tag: the tag that it goes by: in the table MASSIVE's, such as ``sw-KE``.
        name: the language in English, with the territory where MASSIVE has the language twice.
        iso639_3: the language's ISO 639-3 code in URIEL. Where a language has several (its own and its
            macro-language's), the one with more observed syntax features in URIEL; its own at equality.
        cldr: the id of the CLDR locale, as Babel spells it; empty outside the table.
        script: ISO 15924.
        family: the highest language family that is not in dispute; empty outside the table.
        also: the language's other codes, in the order to try where a resource has nothing under `iso639_3`: those of
            ISO 639-3, of its macro-language among them, and ISO 639-2's bibliographic one (lang2vec's learned vectors
            have Albanian as ``alb``).
    """

    tag: str
    name: str
    iso639_3: str
    cldr: str
    script: str
    family: str
    also: tuple[str, ...] = ()

    @property
    def uriel(self) -> tuple[str, ...]:
        """Every ISO 639 code of three letters of the language, in the order to try them in typological resources."""
        return (self.iso639_3, *self.also)


_TABLE = (
    Locale("af-ZA", "Afrikaans", "afr", "af", "Latn", "Indo-European"),
    Locale("am-ET", "Amharic", "amh", "am", "Ethi", "Afro-Asiatic"),
    Locale("ar-SA", "Arabic", "ara", "ar_SA", "Arab", "Afro-Asiatic", ("arb",)),
    Locale("az-AZ", "Azerbaijani", "aze", "az", "Latn", "Turkic", ("azj",)),
    Locale("bn-BD", "Bengali", "ben", "bn", "Beng", "Indo-European"),
    Locale("ca-ES", "Catalan", "cat", "ca", "Latn", "Indo-European"),
    Locale("cy-GB", "Welsh", "cym", "cy", "Latn", "Indo-European", ("wel",)),
    Locale("da-DK", "Danish", "dan", "da", "Latn", "Indo-European"),
    Locale("de-DE", "German", "deu", "de", "Latn", "Indo-European", ("ger",)),
    Locale("el-GR", "Greek", "ell", "el", "Grek", "Indo-European", ("gre",)),
    Locale("en-US", "English", "eng", "en", "Latn", "Indo-European"),
    Locale("es-ES", "Spanish", "spa", "es", "Latn", "Indo-European"),
    Locale("fa-IR", "Persian", "pes", "fa", "Arab", "Indo-European", ("fas", "per")),
    Locale("fi-FI", "Finnish", "fin", "fi", "Latn", "Uralic"),
    Locale("fr-FR", "French", "fra", "fr", "Latn", "Indo-European", ("fre",)),
    Locale("he-IL", "Hebrew", "heb", "he", "Hebr", "Afro-Asiatic"),
    Locale("hi-IN", "Hindi", "hin", "hi", "Deva", "Indo-European"),
    Locale("hu-HU", "Hungarian", "hun", "hu", "Latn", "Uralic"),
    Locale("hy-AM", "Armenian", "hye", "hy", "Armn", "Indo-European", ("arm",)),
    Locale("id-ID", "Indonesian", "ind", "id", "Latn", "Austronesian"),
    Locale("is-IS", "Icelandic", "isl", "is", "Latn", "Indo-European", ("ice",)),
    Locale("it-IT", "Italian", "ita", "it", "Latn", "Indo-European"),
    Locale("ja-JP", "Japanese", "jpn", "ja", "Jpan", "Japonic"),
    Locale("jv-ID", "Javanese", "jav", "jv", "Latn", "Austronesian"),
    Locale("ka-GE", "Georgian", "kat", "ka", "Geor", "Kartvelian", ("geo",)),
    Locale("km-KH", "Khmer", "khm", "km", "Khmr", "Austroasiatic"),
    Locale("kn-IN", "Kannada", "kan", "kn", "Knda", "Dravidian"),
    Locale("ko-KR", "Korean", "kor", "ko", "Kore", "Koreanic"),
    Locale("lv-LV", "Latvian", "lav", "lv", "Latn", "Indo-European", ("lvs",)),
    Locale("ml-IN", "Malayalam", "mal", "ml", "Mlym", "Dravidian"),
    Locale("mn-MN", "Mongolian", "mon", "mn", "Cyrl", "Mongolic", ("khk",)),
    Locale("ms-MY", "Malay", "msa", "ms", "Latn", "Austronesian", ("zsm", "zlm", "may")),
    Locale("my-MM", "Burmese", "mya", "my", "Mymr", "Sino-Tibetan", ("bur",)),
    Locale("nb-NO", "Norwegian", "nor", "nb", "Latn", "Indo-European", ("nob",)),
    Locale("nl-NL", "Dutch", "nld", "nl", "Latn", "Indo-European", ("dut",)),
    Locale("pl-PL", "Polish", "pol", "pl", "Latn", "Indo-European"),
    Locale("pt-PT", "Portuguese", "por", "pt_PT", "Latn", "Indo-European"),
    Locale("ro-RO", "Romanian", "ron", "ro", "Latn", "Indo-European", ("rum",)),
    Locale("ru-RU", "Russian", "rus", "ru", "Cyrl", "Indo-European"),
    Locale("sl-SL", "Slovenian", "slv", "sl", "Latn", "Indo-European"),  # MASSIVE's own: elsewhere sl-SI
    Locale("sq-AL", "Albanian", "als", "sq", "Latn", "Indo-European", ("sqi", "alb", "aln")),
    Locale("sv-SE", "Swedish", "swe", "sv", "Latn", "Indo-European"),
    Locale("sw-KE", "Swahili", "swh", "sw_KE", "Latn", "Niger-Congo", ("swa",)),
    Locale("ta-IN", "Tamil", "tam", "ta", "Taml", "Dravidian"),
    Locale("te-IN", "Telugu", "tel", "te", "Telu", "Dravidian"),
    Locale("th-TH", "Thai", "tha", "th", "Thai", "Kra-Dai"),
    Locale("tl-PH", "Tagalog", "tgl", "fil", "Latn", "Austronesian", ("fil",)),
    Locale("tr-TR", "Turkish", "tur", "tr", "Latn", "Turkic"),
    Locale("ur-PK", "Urdu", "urd", "ur", "Arab", "Indo-European"),
    Locale("vi-VN", "Vietnamese", "vie", "vi", "Latn", "Austroasiatic"),
    Locale("zh-CN", "Chinese (China)", "zho", "zh_Hans", "Hans", "Sino-Tibetan", ("cmn", "chi")),
    Locale("zh-TW", "Chinese (Taiwan)", "zho", "zh_Hant", "Hant", "Sino-Tibetan", ("cmn", "chi")),
)

LOCALES: dict[str, Locale] = {entry.tag: entry for entry in _TABLE}


@lru_cache(maxsize=4096)
def locale(tag: str) -> Locale:
    """The locale of a tag: the table's, or that of any other language by its BCP-47 tag or ISO 639-3 code.

    Outside the table a language that the table has goes by the table's codes, so that it has the same features there.

    Raises:
        UserError: the tag names no language; with the nearest tags, or the tag of the language of that name.
    """
    if tag in LOCALES:
        return LOCALES[tag]
    if languages.parse(tag) is None:
        raise languages.no_language(tag, LOCALES)
    codes = languages.iso639_3(tag)
    same = next((entry.uriel for entry in _TABLE if codes[0] in entry.uriel), codes)
    return Locale(tag, languages.name_of(tag), same[0], "", languages.script_of(tag), "", same[1:])


def is_language(tag: str) -> bool:
    """Whether a tag names a language.

    >>> is_language("sl-SL"), is_language("yo"), is_language("data")
    (True, True, False)
    """
    return tag in LOCALES or languages.parse(tag) is not None


def locale_list(given: str | Iterable[str] | None) -> list[str] | None:
    """The locales of an argument that takes them separated by commas, spaces or both; None where it was not given.

    >>> locale_list(["en-US,fr-FR", "de-DE"])
    ['en-US', 'fr-FR', 'de-DE']

    Raises:
        UserError: a locale is named twice.
    """
    if given is None:
        return None
    parts = [given] if isinstance(given, str) else given
    tags = [tag for part in parts for tag in part.replace(",", " ").split()]
    for place, tag in enumerate(tags):
        if tag in tags[:place]:
            raise UserError(f"the locale {tag} is named twice in {', '.join(tags)}")
    return tags
