"""Registry of corpora. To add a corpus, add a file and a line here."""

from collections.abc import Callable

from mu_lightning.data.corpus import Corpus
from mu_lightning.settings import CorpusSettings
from mu_lightning.utilities.errors import UserError, unknown


def _cldr(settings: CorpusSettings) -> Corpus:
    from mu_lightning.data.cldr import CldrCorpus

    if settings.data_dir is not None:
        raise UserError(
            f"the corpus 'cldr' is embedded and needs no directory: remove {settings.data_dir}, or read your own "
            "tables there with --corpus files"
        )
    return CldrCorpus()


def _massive(settings: CorpusSettings) -> Corpus:
    from mu_lightning.data.massive import MassiveCorpus

    return MassiveCorpus(settings.data_dir)


def _files(settings: CorpusSettings) -> Corpus:
    from mu_lightning.data.files import files_corpus

    return files_corpus(settings)


def _hub(settings: CorpusSettings) -> Corpus:
    from mu_lightning.data.hub import hub_corpus

    return hub_corpus(settings)


CORPORA: dict[str, Callable[[CorpusSettings], Corpus]] = {
    "cldr": _cldr,
    "massive": _massive,
    "files": _files,
    "hub": _hub,
}
# Settings of specific corpora; an error for other corpora.
_OWN = {
    "files": ("text_column", "label_column", "split_column", "id_column", "language_column", "split_seed"),
    "hub": (
        *("dataset", "configs"),
        *("text_column", "label_column", "split_column", "id_column", "language_column", "split_seed"),
    ),
}


def open_corpus(settings: CorpusSettings | str) -> Corpus:
    """Opens the corpus of the settings, without reading rows.

    Args:
        settings: which corpus, and how it is read; a name alone for its defaults.

    Raises:
        UserError: an unknown corpus, an invalid directory, or a setting of another corpus.
    """
    if isinstance(settings, str):
        settings = CorpusSettings(settings)
    if settings.corpus not in CORPORA:
        raise unknown("corpus", settings.corpus, CORPORA)
    defaults, given = CorpusSettings().corpus_values(), settings.corpus_values()
    for name in sorted({name for names in _OWN.values() for name in names}):
        if given[name] != defaults[name] and name not in _OWN.get(settings.corpus, ()):
            owners = " or ".join(corpus for corpus, names in _OWN.items() if name in names)
            raise UserError(
                f"--{name.replace('_', '-')} {given[name]} is for --corpus {owners}, not for '{settings.corpus}'"
            )
    return CORPORA[settings.corpus](settings)
