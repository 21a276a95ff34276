"""Source models that remain to be trained: ``--locales all`` and ``--skip-existing``."""

from dataclasses import replace
from pathlib import Path

from mu_lightning.checkpoints import model_folder_name
from mu_lightning.data.registry import open_corpus
from mu_lightning.locales import locale
from mu_lightning.settings import RunSettings
from mu_lightning.training.members import ALL, models_to_train, training_locales
from mu_lightning.training.run_plan import default_folder, is_first_process
from mu_lightning.utilities.errors import UserError


def settle_locales(settings: RunSettings) -> RunSettings | None:
    """With ``skip_existing``, removes locales that have a model from the settings.

    The run gets its own folder unless one is given.

    Returns:
        The settings, or None if nothing remains to be trained.

    Raises:
        UserError: an unknown locale, or ``skip_existing`` for a run with a target, which trains no source models.
    """
    if not settings.skip_existing:
        return settings
    if settings.targets:
        raise UserError("--skip-existing is for source models, and a run with --target-lang exports none: remove it")
    if settings.all_leave_one_out:
        raise UserError("--skip-existing does not support --all-leave-one-out")
    for tag in settings.locales:
        if tag != ALL:
            locale(tag)
    locales = training_locales(settings, open_corpus(settings.data))
    if not locales:
        return settings  # rejected by `plan_run`
    names = tuple(models_to_train(settings, locales))
    left = tuple(name for name in names if not _folder(settings, name).is_dir())
    if is_first_process() and len(left) < len(names):
        print(f"{len(names) - len(left)} of {len(names)} models are in {settings.models_dir} already", flush=True)
    if not left:
        return None
    if names == locales:  # one model per locale; multilingual models need all locales
        locales = left
    folder = settings.output_dir or _free(default_folder(settings, locales))
    return replace(settings, locales=locales, output_dir=folder)


def _folder(settings: RunSettings, name: str) -> Path:
    return settings.models_dir / model_folder_name(settings.model.base, settings.data.corpus, name)


def _free(folder: Path) -> Path:
    """Returns the folder, or the first numbered variant without a finished run."""
    found, number = folder, 1
    while (found / "results.json").exists():
        number += 1
        found = folder.with_name(f"{folder.name}-{number}")
    return found
