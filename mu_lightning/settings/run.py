"""`RunSettings`: the immutable settings of a training run."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from mu_lightning.locales import locale_list
from mu_lightning.settings.bounds import check_settings
from mu_lightning.settings.groups import (
    CheckpointSettings,
    DataSettings,
    GuardSettings,
    MergeSettings,
    ModelSettings,
    Tune,
)
from mu_lightning.settings.trainer import TrainerArguments, trainer_arguments
from mu_lightning.settings.typology import TypologySettings

DEFAULT_MODELS_DIR = Path("checkpoints")


@dataclass(frozen=True)
class RunSettings:
    """Settings of a training run; for descriptions see ``python cli.py fit --help``.

    Locales can be given as text, ``"en-US,fr-FR"``, or as a sequence. Missing arguments of the Trainer have the
    defaults of this project.

    Attributes:
        seed: random seed; ``seed_everything`` in configuration files.
        locales: locales to train on; ``("all",)`` for all locales of the corpus.
        callbacks: name in `mu_lightning.training.callbacks.CLASS_PATHS` -> class path of a replacement, or None to
            remove it.

    Raises:
        UserError: a repeated locale, a number out of its bounds, or an unknown argument of the Trainer.
    """

    seed: int = 0
    trainer: TrainerArguments = field(default_factory=TrainerArguments)
    locales: tuple[str, ...] = ()
    output_dir: Path | None = None
    data: DataSettings = field(default_factory=DataSettings)
    target_lang: str | None = None
    target_languages: tuple[str, ...] = ()
    num_languages: int = 5
    preweight: str = "uriel"
    weights: str | Mapping[str, float] | None = None
    multilingual: bool = False
    exclude: tuple[str, ...] = ()
    all_leave_one_out: bool = False
    compare: bool = False
    tune: Tune | None = None
    models_dir: Path = DEFAULT_MODELS_DIR
    skip_existing: bool = False
    dry_run: bool = False
    resume: bool = False
    ckpt_path: str | None = None
    save_config: bool = False
    enable_tensorboard: bool = False
    enable_wandb: bool = False
    callbacks: Mapping[str, str | None] = field(default_factory=dict)
    model: ModelSettings = field(default_factory=ModelSettings)
    typology: TypologySettings = field(default_factory=TypologySettings)
    merge: MergeSettings = field(default_factory=MergeSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    guard: GuardSettings = field(default_factory=GuardSettings)

    def __post_init__(self) -> None:
        for name in ("locales", "target_languages", "exclude"):
            object.__setattr__(self, name, tuple(locale_list(getattr(self, name)) or ()))
        object.__setattr__(self, "callbacks", dict(self.callbacks or {}))
        object.__setattr__(self, "trainer", trainer_arguments(self.trainer))
        check_settings(self)

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets, the primary target first: `target_lang`, then `target_languages`."""
        first = (self.target_lang,) if self.target_lang else ()
        return tuple(dict.fromkeys((*first, *self.target_languages)))

    def plain(self) -> dict[str, Any]:
        """Returns the settings as plain values, with the keys of a configuration file."""
        values: dict[str, Any] = {each.name: plain_values(getattr(self, each.name)) for each in fields(self)}
        values = {"seed_everything": values.pop("seed"), **values}
        return {key: None if value == [] else value for key, value in values.items()}


def plain_values(value: Any) -> Any:
    """Converts a value to plain values for JSON and YAML; other objects become their class path."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain_values(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    return {"class_path": f"{type(value).__module__}.{type(value).__qualname__}"}
