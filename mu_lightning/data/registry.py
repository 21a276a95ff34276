"""The corpora by name. A new one is a new file and one line here."""

from collections.abc import Callable
from pathlib import Path

from mu_lightning.data.corpus import Corpus
from mu_lightning.utilities.errors import UserError, unknown


def _cldr(data_dir: Path | None) -> Corpus:
    from mu_lightning.data.cldr import CldrCorpus

    if data_dir is not None:
        raise UserError(f"the corpus 'cldr' is embedded and reads no directory: leave out {data_dir}")
    return CldrCorpus()


def _massive(data_dir: Path | None) -> Corpus:
    from mu_lightning.data.massive import MassiveCorpus

    return MassiveCorpus(data_dir)


CORPORA: dict[str, Callable[[Path | None], Corpus]] = {
    "cldr": _cldr,
    "massive": _massive,
}


def open_corpus(name: str, data_dir: Path | None = None) -> Corpus:
    """The corpus called `name`; nothing of it is read yet.

    Args:
        name: one of `CORPORA`.
        data_dir: where the corpus' files are, for one that can be read from a directory.

    Raises:
        UserError: no corpus has that name, `data_dir` is not what the corpus reads, or the corpus reads no directory.
    """
    if name not in CORPORA:
        raise unknown("corpus", name, CORPORA)
    return CORPORA[name](data_dir)
