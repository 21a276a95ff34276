"""Languages of a corpus that could be trained on, and languages that could be labeled."""

from collections.abc import Sequence

from mu_lightning.data.corpus import Corpus, check_labeled
from mu_lightning.languages import not_among, same_language
from mu_lightning.locales import LOCALES, locale
from mu_lightning.utilities.errors import UserError


def candidates(target: str, corpus: Corpus, sources: Sequence[str] | None) -> tuple[str, ...]:
    """Languages with labeled train rows other than the target.

    Args:
        target: tag of the target.
        corpus: the corpus.
        sources: the languages to consider; default: all.

    Raises:
        UserError: an invalid target, a target that the corpus has under another tag, a source that is missing,
            unlabeled or the target itself, or no candidates.
    """
    locale(target)
    if target not in corpus.locales and any(same_language(target, tag) for tag in corpus.locales):
        raise not_among(f"the corpus {corpus.name}", target, corpus.locales)
    for tag in sources or ():
        if tag == target:
            raise UserError(f"the target {target} is among its sources: remove it")
        if tag not in corpus.locales:
            raise not_among(f"the corpus {corpus.name}", tag, corpus.locales)
        check_labeled(corpus, tag, "train", corpus.rows(tag, "train"), "trained on")
    if sources:
        return tuple(sources)
    found = tuple(tag for tag in corpus.locales if tag != target and corpus.rows(tag, "train").labeled)
    if not found:
        raise UserError(f"the corpus {corpus.name} has no language with labeled train rows other than {target}")
    return found


def unlabeled(target: str, corpus: Corpus) -> tuple[str, ...]:
    """Languages other than the target that could be labeled: of the corpus, then of the table of locales."""
    taken = [target, *(tag for tag in corpus.locales if corpus.rows(tag, "train").labeled)]
    found: list[str] = []
    for tag in (*corpus.locales, *LOCALES):
        if not any(same_language(tag, other) for other in (*taken, *found)):
            found.append(tag)
    return tuple(found)
