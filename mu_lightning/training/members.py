"""Which models a `fit` trains, on which locales, and on which locales it scores them without having seen them."""

import hashlib
from collections.abc import Sequence

from mu_lightning.data.corpus import Corpus
from mu_lightning.languages import not_among
from mu_lightning.locales import locale as known_locale
from mu_lightning.settings import RunSettings
from mu_lightning.utilities.errors import UserError

ALL = "all"
POOLED, WITHOUT = "multilingual", "without-"  # names of members of several locales
NAMED = 8  # locales that a name spells out; a file's name may have 255 bytes


def excluded_locales(settings: RunSettings) -> tuple[str, ...]:
    """The locales that a run leaves out; raises UserError for an unknown one."""
    excluded = settings.exclude
    for tag in excluded:
        known_locale(tag)
    return excluded


def training_locales(settings: RunSettings, corpus: Corpus) -> tuple[str, ...]:
    """The locales to train on: those named, or ``all``, or all but those to leave out; none where none are named.

    So it is for a target whose sources typology is to choose.

    Raises:
        UserError: nothing is left, or a locale to leave out is unknown or not in the corpus.
    """
    excluded = excluded_locales(settings)
    for tag in excluded:
        if tag not in corpus.locales:
            raise not_among(f"--exclude {tag}: the corpus {corpus.name}", tag, corpus.locales)
    locales = settings.locales
    everything = locales == (ALL,) or (not locales and not settings.targets)
    if everything and (locales or excluded or settings.all_leave_one_out):
        locales = tuple(tag for tag in corpus.locales if tag not in settings.targets)
    left = tuple(tag for tag in locales if tag not in excluded)
    if locales and not left:
        raise UserError(f"nothing to train: --exclude leaves out every locale of {', '.join(locales)}")
    return left


def models_to_train(settings: RunSettings, locales: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name of each model -> the locales that it learns from.

    One a locale; under ``multilingual`` one on all of them; under ``all_leave_one_out`` one on all but each.
    """
    if settings.all_leave_one_out:
        return {f"{WITHOUT}{left}": tuple(tag for tag in locales if tag != left) for left in locales}
    if settings.multilingual:
        excluded = excluded_locales(settings)
        return {WITHOUT + name_of(excluded) if excluded and not settings.targets else POOLED: tuple(locales)}
    return {tag: (tag,) for tag in locales}


def name_of(locales: Sequence[str]) -> str:
    """What several locales are called in a file's name: of many some are named, and a hash tells which they all are.

    >>> name_of(["sq-AL", "am-ET"])
    'sq-AL+am-ET'
    """
    if len(locales) <= NAMED:
        return "+".join(locales)
    digest = hashlib.sha256(" ".join(sorted(locales)).encode()).hexdigest()[:8]
    return f"{'+'.join(locales[:NAMED])}+{len(locales) - NAMED}-more-{digest}"


def unseen_locales(settings: RunSettings, models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name of each model -> the locales left out, on which it is scored without having seen them."""
    if settings.all_leave_one_out:
        return {name: (name.removeprefix(WITHOUT),) for name in models}
    return {name: excluded_locales(settings) for name in models}


def check_models(settings: RunSettings, locales: Sequence[str], targets: Sequence[str]) -> None:
    """Raises UserError for requests that do not go together.

    Args:
        settings: of a `fit`.
        locales: the locales to train on, where they are named.
        targets: the targets.
    """
    if settings.multilingual and targets and settings.compare:
        raise UserError("--compare sets merges beside other ways, and --multilingual merges nothing: leave one out")
    if not settings.all_leave_one_out:
        return
    if targets or settings.multilingual:
        other = "--target-lang" if targets else "--multilingual"
        raise UserError(f"--all-leave-one-out trains one model a left-out locale: leave out {other}")
    if settings.model.patience is not None:
        raise UserError("--all-leave-one-out: its models share their dev splits, so none can stop by its own score")
    if len(locales) < 2:
        raise UserError("--all-leave-one-out needs at least two locales: with one left out, none is left to train on")
