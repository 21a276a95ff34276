"""`RunSettings`: all that a training run is configured with, parsed once and changed by nobody."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from mu_lightning.locales import locale_list
from mu_lightning.settings.groups import CheckpointSettings, DataSettings, GuardSettings, MergeSettings, ModelSettings
from mu_lightning.settings.trainer import TrainerArguments, trainer_arguments
from mu_lightning.settings.typology import TypologySettings

DEFAULT_MODELS_DIR = Path("checkpoints")


@dataclass(frozen=True)
class RunSettings:
    """What a `fit` is configured with; ``python cli.py fit --help`` says what each is.

    Locales may be given as a text, ``"en-US,fr-FR"``, or one by one; they are kept as a tuple. Arguments of the Trainer
    that are not given have this project's defaults.

    Attributes:
        seed: the run's seed; ``seed_everything`` in a configuration file.
        locales: the locales to train on; ``("all",)`` for every one of the corpus.
        callbacks: name in `mu_lightning.training.callbacks.CLASS_PATHS` -> the class path that replaces it, or None to
            leave it out.

    Raises:
        UserError: a locale is named twice, or an argument of the Trainer does not exist.
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

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets, the primary one first: `target_lang`, then `target_languages`."""
        first = (self.target_lang,) if self.target_lang else ()
        return tuple(dict.fromkeys((*first, *self.target_languages)))

    def plain(self) -> dict[str, Any]:
        """The settings as plain values by the keys of a configuration file, for the record."""
        values: dict[str, Any] = {each.name: plain_values(getattr(self, each.name)) for each in fields(self)}
        values = {"seed_everything": values.pop("seed"), **values}
        return {key: None if value == [] else value for key, value in values.items()}


def plain_values(value: Any) -> Any:
    """A value as what JSON and YAML hold; an object that is neither is named by its class path."""
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
