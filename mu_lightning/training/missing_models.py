"""Which source models a `fit` is still to train: ``--locales all`` and ``--skip-existing``."""

from pathlib import Path
from typing import Any

from mu_lightning.checkpoints import model_folder_name
from mu_lightning.data.registry import open_corpus
from mu_lightning.locales import locale, locale_list
from mu_lightning.training.members import ALL, models_to_train, training_locales
from mu_lightning.training.run_plan import default_folder, is_first_process, wanted_targets
from mu_lightning.utilities.errors import UserError


def settle_locales(config: Any) -> bool:
    """Replaces ``all`` by the corpus' locales, and with ``skip_existing`` leaves out those that have a model.

    A run that goes on where others ended gets a folder of its own, where none is named.

    Args:
        config: a `fit` configuration; its ``locales`` and ``output_dir`` are changed.

    Returns:
        Whether anything is left to train.

    Raises:
        UserError: an unknown locale, or ``skip_existing`` for a run with a target, which makes no source models.
    """
    targets = wanted_targets(config)
    if config.skip_existing and targets:
        raise UserError("--skip-existing is for source models, and a run with --target-lang makes none: leave it out")
    if config.skip_existing and config.all_leave_one_out:
        raise UserError("--skip-existing looks for a model a locale, not for those of --all-leave-one-out")
    if locale_list(config.locales) == [ALL] or config.exclude:
        corpus = open_corpus(config.data.corpus, config.data.data_dir)
        config.locales = list(training_locales(config, corpus)) or None
    locales = locale_list(config.locales)
    if not config.skip_existing or not locales:
        return True
    for tag in locales:
        locale(tag)
    names = list(models_to_train(config, locales))
    left = [name for name in names if not _folder(config, name).is_dir()]
    if is_first_process() and len(left) < len(names):
        print(f"{len(names) - len(left)} of {len(names)} models are in {config.models_dir} already", flush=True)
    if names == locales:  # a model a locale; one of several needs them all
        config.locales = left
    if left and config.output_dir is None:
        config.output_dir = _free(default_folder(config, tuple(config.locales), targets))
    return bool(left)


def _folder(config: Any, name: str) -> Path:
    folder: Path = config.models_dir / model_folder_name(config.model.base, config.data.corpus, name)
    return folder


def _free(folder: Path) -> Path:
    """The folder, or the first of its name with a number that holds no finished run."""
    found, number = folder, 1
    while (found / "results.json").exists():
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found
