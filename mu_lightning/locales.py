"""Locales and their identifiers in other resources.

The table has the 52 locales of MASSIVE and the embedded corpus; other languages are resolved from their tags.

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
    """A locale and its identifiers in other resources.

    Attributes:
        tag: tag of the locale, as in MASSIVE, such as ``sw-KE``.
        name: English name of the language, with the territory if MASSIVE has the language twice.
        iso639_3: ISO 639-3 code of the language in URIEL. If a language has several (its own and that of its
            macrolanguage), the one with more observed syntax features.
        cldr: CLDR locale id of Babel; empty outside the table.
        script: ISO 15924 code of the script.
        family: top-level language family; empty outside the table.
        also: other codes of the language in order of preference, for resources without `iso639_3`: ISO 639-3 codes,
            including that of its macrolanguage, and bibliographic ISO 639-2 codes (lang2vec's learned vectors have
            Albanian as ``alb``).
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
        """All three-letter ISO 639 codes of the language in order of preference."""
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
    Locale("sl-SL", "Slovenian", "slv", "sl", "Latn", "Indo-European"),  # as in MASSIVE; usually sl-SI
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
    """Returns a locale of the table, or of any other language by BCP-47 tag or ISO 639-3 code.

    Other tags of languages in the table have the codes of the table, and therefore the same features.

    Raises:
        UserError: an invalid tag; similar tags are suggested.
    """
    if tag in LOCALES:
        return LOCALES[tag]
    if languages.parse(tag) is None:
        raise languages.no_language(tag, LOCALES)
    codes = languages.iso639_3(tag)
    same = next((entry.uriel for entry in _TABLE if codes[0] in entry.uriel), codes)
    return Locale(tag, languages.name_of(tag), same[0], "", languages.script_of(tag), "", same[1:])


def is_language(tag: str) -> bool:
    """Whether a tag is valid.

    >>> is_language("sl-SL"), is_language("yo"), is_language("data")
    (True, True, False)
    """
    return tag in LOCALES or languages.parse(tag) is not None


def locale_list(given: str | Iterable[str] | None) -> list[str] | None:
    """Parses locales separated by commas or spaces; None if the argument is missing.

    >>> locale_list(["en-US,fr-FR", "de-DE"])
    ['en-US', 'fr-FR', 'de-DE']

    Raises:
        UserError: a repeated locale.
    """
    if given is None:
        return None
    parts = [given] if isinstance(given, str) else given
    tags = [tag for part in parts for tag in part.replace(",", " ").split()]
    for place, tag in enumerate(tags):
        if tag in tags[:place]:
            raise UserError(f"the locale {tag} is named twice in {', '.join(tags)}")
    return tags
