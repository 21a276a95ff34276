"""Checks that a corpus has the rows and labels of a run, before training."""

from collections.abc import Sequence

from mu_lightning.data.corpus import Corpus, check_labeled
from mu_lightning.languages import not_among, same_language
from mu_lightning.locales import locale
from mu_lightning.schedules.schedules import Schedule
from mu_lightning.settings import MergeSettings
from mu_lightning.training.merging.reweighting import READS_TARGET
from mu_lightning.utilities.errors import UserError


def check_target(tag: str, corpus: Corpus) -> None:
    """Raises UserError for a target that the corpus seems to have under another tag."""
    if tag in corpus.locales:
        return
    script = locale(tag).script
    near = [one for one in corpus.locales if same_language(one, tag) and locale(one).script == script]
    if near:
        raise UserError(f"the corpus {corpus.name} has no locale '{tag}': did you mean {' or '.join(near)}?")


def check_rows(corpus: Corpus, tag: str, test: bool) -> None:
    """Checks a train locale.

    Args:
        corpus: the corpus.
        tag: the locale.
        test: whether test rows are needed, too.

    Raises:
        UserError: the locale is not in the corpus, has no labels, or a single label.
    """
    if tag not in corpus.locales:
        raise not_among(f"the corpus {corpus.name}", tag, corpus.locales, "remove --compare")
    for split in ("train", "dev"):
        check_labeled(corpus, tag, split, corpus.rows(tag, split), "trained on")
    if test:
        check_labeled(corpus, tag, "test", corpus.rows(tag, "test"), "compared")
    rows = corpus.rows(tag, "train")
    if len(set(rows.labels)) < 2:
        raise UserError(
            f"all {len(rows)} train rows of {tag} have the label '{corpus.label_names[rows.labels[0]]}': a model of "
            "them would be trivial; remove it"
        )


def check_target_labels(merging: MergeSettings, corpus: Corpus, targets: Sequence[str], schedule: Schedule) -> None:
    """Raises UserError if merges depend on dev labels that a target lacks.

    Args:
        merging: settings of merges.
        corpus: the corpus.
        targets: target locales.
        schedule: merge schedule.
    """
    readers = {
        f"--merge.reweight {merging.reweight}": READS_TARGET[merging.reweight],
        "--merge.tolerance": merging.tolerance is not None,
        f"the schedule {schedule.name}": schedule.reads_target,
    }
    asked = next((name for name, reads in readers.items() if reads), None)
    for tag in targets:
        if asked and not (tag in corpus.locales and corpus.rows(tag, "dev").labeled):
            raise UserError(
                f"{asked} uses dev labels of the target, but {tag} has none in the corpus {corpus.name}: leave it out"
            )
