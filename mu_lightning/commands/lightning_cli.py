"""LightningCLI with groups of settings instead of classes: `fit` validates before it builds objects."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from mu_lightning.approaches.evaluation_context import check_locales
from mu_lightning.approaches.fitted import export_and_score, say_outcome, write_outcome
from mu_lightning.approaches.problem import Problem
from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.commands.fit_arguments import SUMMARIES, add_arguments
from mu_lightning.commands.invocation import program_name
from mu_lightning.commands.parsing import OneLineErrors
from mu_lightning.commands.short_names import short_names
from mu_lightning.data.corpus import Split, check_labeled, check_labels
from mu_lightning.data.module import IntentDataModule
from mu_lightning.data.registry import open_corpus
from mu_lightning.locales import locale as known_locale
from mu_lightning.locales import locale_list
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.reading import check_architecture, check_length, check_tokens, longest_texts, trial_logits
from mu_lightning.results.identity import Identity, plain
from mu_lightning.results.model_records import recorded_supervision
from mu_lightning.results.results import Result, show, write_results
from mu_lightning.settings import TRAINER_DEFAULTS, DataSettings, RunSettings
from mu_lightning.training.checkpointing.signals import terminable
from mu_lightning.training.dry_run import describe
from mu_lightning.training.missing_models import settle_locales
from mu_lightning.training.rehearsal import rehearsal, rehearsed
from mu_lightning.training.run import TrainingRun
from mu_lightning.training.run_plan import is_first_process, plan_run
from mu_lightning.training.trainer import check_arguments
from mu_lightning.utilities.console import quiet_lightning
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_folder, refuse_existing, reserved
from mu_lightning.utilities.precision import settled_precision


class _Parser(OneLineErrors, LightningArgumentParser):
    """LightningCLI's parser with one-line errors."""


class _Arguments(Trainer):
    """Arguments of Lightning's Trainer with the additional precision ``auto``.

    Other values are validated by Lightning.
    """

    def __init__(self, *, precision: int | str | None = None, **more: Any) -> None:
        super().__init__(**more)


class _GroupedCLI(LightningCLI):
    """A command with settings groups for model, data and merges.

    LightningCLI parses the arguments; its subcommands are not used, because hyperparameters in checkpoints would
    override arguments.

    Args:
        arguments: command and arguments.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.command = arguments[0]
        quiet_lightning()
        super().__init__(
            args=arguments[1:],
            run=False,
            parser_class=_Parser,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults=dict(TRAINER_DEFAULTS),
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={"prog": f"{program_name()} {self.command}"},
        )
        self.execute()

    def execute(self) -> None:
        """Runs the command."""
        getattr(self, self.command)()

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(_Arguments, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.description = SUMMARIES[self.command]
        assert isinstance(parser, _Parser)
        parser.more_names = tuple(short_names(self.command))
        add_arguments(parser, self.command)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)
        trainer = self.config.trainer
        if trainer.precision == "auto":  # record the resolved value, which is compared when resuming
            trainer.precision, reason = settled_precision(trainer.accelerator)
            if is_first_process():
                print(f"precision {trainer.precision}: {reason}", file=sys.stderr)

    @property
    def plain_config(self) -> dict[str, Any]:
        """Returns the full configuration as plain values."""
        return yaml.safe_load(self.parser.dump(self.config, skip_unset=False, format="yaml"))


class FitCLI(_GroupedCLI):
    """The command `fit`."""

    def instantiate_classes(self) -> None:
        self.run: TrainingRun | None = None
        settings = self.settings()
        if rehearsed(settings):
            self.rehearsal = TemporaryDirectory(prefix="mu-lightning-")  # removed with this object
            settings = rehearsal(settings, Path(self.rehearsal.name))
            if is_first_process():
                print("fast_dev_run: the whole run on a few batches, in a temporary folder that is removed at the end")
        settled = settle_locales(settings)
        if settled is not None:
            self.run = TrainingRun(plan_run(settled))

    def settings(self) -> RunSettings:
        """Returns the parsed settings."""
        asked = self.config.clone()
        asked.pop("config", None)
        # Plain values: objects of the Trainer are built for each training, and settings can be pickled.
        trainer = self.plain_config["trainer"]
        del asked["trainer"]
        found = vars(self.parser.instantiate(asked)) | {"trainer": trainer}
        return RunSettings(seed=int(found.pop("seed_everything")), **found)

    def fit(self) -> None:
        """Trains, merges, exports and evaluates."""
        if self.run is None:
            print("nothing to train")
            return
        if self.run.settings.dry_run:
            print(describe(self.run.plan))
            return
        with terminable(), self.run as run:
            trained = run.train()
            results = export_and_score(run, trained)
            compared = self._compared(run) if run.settings.compare else []
            write_outcome(run, trained, results)
            say_outcome(run, [*compared, *results])

    def _compared(self, run: TrainingRun) -> list[Result]:
        if not is_first_process():
            return []
        from mu_lightning.experiments.comparison import compare_run
        from mu_lightning.experiments.workers import local_workers

        return compare_run(run, local_workers())


class ScoreCLI(_GroupedCLI):
    """The commands `validate` and `test`, for one model folder and any locales."""

    def instantiate_classes(self) -> None:
        self.config_init = self.parser.instantiate(self.config)
        settings = self.settings = self.config_init
        locales = locale_list(settings.locales) or []
        for tag in locales:
            known_locale(tag)
        if not locales:
            raise UserError(f"nothing to {self.command}: set --locales")
        if settings.output_dir and is_first_process():
            refuse_existing(settings.output_dir)
        check_arguments(settings.trainer)
        corpus = open_corpus(settings.data)
        self.model: IntentClassifier = IntentClassifier.from_folder(settings.model_path, corpus.label_names)
        check_architecture(self.model.model, settings.model_path)
        check_length(settings.data.max_length, self.model.model)
        check_labels(settings.model_path, self.model.label_names, corpus)
        tokenizer = load_tokenizer(settings.model_path)
        self.datamodule = IntentDataModule(corpus, tokenizer, settings.data, eval_locales=locales)
        split: Split = "dev" if self.command == "validate" else "test"
        check_locales(corpus, locales)
        for tag in locales:
            check_labeled(corpus, tag, split, self.datamodule.rows(tag, split), "scored")
        parts = [self.datamodule.encoded(tag, split) for tag in locales]
        check_tokens(parts, tokenizer, self.model.model)
        trial_logits(self.model.model, longest_texts(parts), settings.model_path)
        self.trainer = Trainer(**{**settings.trainer, "logger": settings.trainer.logger or False})

    def execute(self) -> None:
        """Runs the command with a locked output folder."""
        with reserved(self.settings.output_dir if is_first_process() else None):
            super().execute()

    def validate(self) -> None:
        """Evaluates on dev splits."""
        self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
        self._report()

    def test(self) -> None:
        """Evaluates on test splits."""
        self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        self._report()

    def _report(self) -> None:
        if not self.trainer.is_global_zero:
            return
        path = self.settings.model_path
        split: Split = "dev" if self.command == "validate" else "test"
        results = [
            Result(model_identity(path, self.settings.data, tag, split), found, recorded_supervision(path, tag))
            for tag, found in self.model.scores.items()
        ]
        print(show(results))
        if self.settings.output_dir:
            problem = Problem(results[0].scores.locale, self.settings.data, base="", split=split)
            recipe = {"command": self.command, "problem": plain(problem), "models": {Path(path).name: path}}
            with atomic_folder(self.settings.output_dir) as folder:
                write_results(folder, results, {"recipe": recipe, "config": self.plain_config})
            print(f"scores: {self.settings.output_dir}")


def model_identity(path: str, data: DataSettings, locale: str, split: Split) -> Identity:
    """Identity of a result of a model folder on a locale."""
    name = Path(path).name
    return Identity(Problem(locale, data, base="", split=split).plain(), {"approach": "model", "model": name}, 0, name)
