"""Models of a run, with their train locales and zero-shot locales."""

import hashlib
from collections.abc import Sequence

from mu_lightning.data.corpus import Corpus
from mu_lightning.languages import not_among
from mu_lightning.locales import locale as known_locale
from mu_lightning.settings import RunSettings
from mu_lightning.utilities.errors import UserError

ALL = "all"
POOLED, WITHOUT = "multilingual", "without-"  # names of members of several locales
NAMED = 8  # maximum number of locales in a name; file names have at most 255 bytes


def excluded_locales(settings: RunSettings) -> tuple[str, ...]:
    """Returns the excluded locales; raises UserError for an unknown one."""
    excluded = settings.exclude
    for tag in excluded:
        known_locale(tag)
    return excluded


def training_locales(settings: RunSettings, corpus: Corpus) -> tuple[str, ...]:
    """Returns the train locales: the given ones, ``all``, or all except the excluded ones.

    It is empty if none are given: the sources of a target are then selected by typology.

    Raises:
        UserError: no locales remain, or an excluded locale is unknown or not in the corpus.
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
        raise UserError(f"nothing to train: --exclude removes every locale of {', '.join(locales)}")
    return left


def models_to_train(settings: RunSettings, locales: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the train locales of each model by name.

    One model per locale; with ``multilingual`` one for all locales; with ``all_leave_one_out`` one for all except each.
    """
    if settings.all_leave_one_out:
        return {f"{WITHOUT}{left}": tuple(tag for tag in locales if tag != left) for left in locales}
    if settings.multilingual:
        excluded = excluded_locales(settings)
        return {WITHOUT + name_of(excluded) if excluded and not settings.targets else POOLED: tuple(locales)}
    return {tag: (tag,) for tag in locales}


def name_of(locales: Sequence[str]) -> str:
    """File name for several locales; many locales are shortened with a hash.

    >>> name_of(["sq-AL", "am-ET"])
    'sq-AL+am-ET'
    """
    if len(locales) <= NAMED:
        return "+".join(locales)
    digest = hashlib.sha256(" ".join(sorted(locales)).encode()).hexdigest()[:8]
    return f"{'+'.join(locales[:NAMED])}+{len(locales) - NAMED}-more-{digest}"


def unseen_locales(settings: RunSettings, models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the zero-shot locales of each model by name."""
    if settings.all_leave_one_out:
        return {name: (name.removeprefix(WITHOUT),) for name in models}
    return {name: excluded_locales(settings) for name in models}


def check_models(settings: RunSettings, locales: Sequence[str], targets: Sequence[str]) -> None:
    """Raises UserError for contradicting settings.

    Args:
        settings: settings of the run.
        locales: train locales, if given.
        targets: target locales.
    """
    if settings.multilingual and targets and settings.compare:
        raise UserError("--compare evaluates merges, but --multilingual does not merge: remove one of them")
    if not settings.all_leave_one_out:
        return
    if targets or settings.multilingual:
        other = "--target-lang" if targets else "--multilingual"
        raise UserError(f"--all-leave-one-out trains one model per excluded locale: remove {other}")
    if settings.model.patience is not None:
        raise UserError("--all-leave-one-out: models share dev splits, so they cannot stop by their own scores")
    if len(locales) < 2:
        raise UserError("--all-leave-one-out needs at least two locales")
