"""Runs a validated training plan, with checkpoints, callbacks and loggers."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger, WandbLogger
from torch import Tensor, device

from mu_lightning.data.module import IntentDataModule
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.joint import JointClassifier
from mu_lightning.monitoring.loggers import run_loggers
from mu_lightning.results.results import Supervision
from mu_lightning.training.callbacks import Merges, build_callback
from mu_lightning.training.checkpointing.resuming import BEGUN, CHECKPOINTS, Resumption, resumes
from mu_lightning.training.checkpointing.signals import STATUS
from mu_lightning.training.distributed import strategy_for
from mu_lightning.training.exports import Exports
from mu_lightning.training.fitting import fit, stacked
from mu_lightning.training.merging.merge_plan import check_merge
from mu_lightning.training.merging.merge_round import last_weights
from mu_lightning.training.run_plan import RunPlan, is_first_process, refuse_existing_outputs
from mu_lightning.training.trainer import bare_trainer, built_arguments
from mu_lightning.typology.plan import table
from mu_lightning.utilities.errors import Interrupted
from mu_lightning.utilities.files import write_json, write_text
from mu_lightning.utilities.locks import locked
from mu_lightning.utilities.tables import counted
from mu_lightning.utilities.yaml_files import dump_yaml


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes:
        plan: the run.
        module: the trained members.
        data: the data module.
        trainer: the trainer.
        history: records of the merges (see docs/iterative.md).
        merged: target -> state dict of the last committed merge, if any.
        looked_at: target -> data of the target that merges used.
    """

    plan: RunPlan
    module: JointClassifier
    data: IntentDataModule
    trainer: Trainer
    history: tuple[dict[str, Any], ...] = ()
    merged: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    looked_at: Mapping[str, Supervision] = field(default_factory=dict)

    @property
    def device(self) -> device:
        """Device of the training."""
        found: device = self.trainer.strategy.root_device
        return found

    def member(self, name: str) -> IntentClassifier:
        """Returns a member on the device of the training; Lightning moves members to the CPU."""
        return self.module.to(self.device).member(name)

    def classifier(self, target: str) -> IntentClassifier:
        """Returns the merged model of a target on the device of the training; raises KeyError without one."""
        return self.plan.merged(self.merged[target]).to(self.device)

    def weights(self, target: str) -> dict[str, float]:
        """Merge weights of the merged model of a target."""
        return last_weights(self.history, target)

    def supervision(self, target: str) -> Supervision:
        """Data of a target that training used: its dev labels, if decisions about merges depend on them."""
        return self.looked_at.get(target, "none")


class TrainingRun:
    """Runs a training plan: ``with TrainingRun(plan) as run: trained = run.train()``.

    The context locks the output folders, and closes the loggers at the end.

    Args:
        plan: the validated run.
        quiet: whether to print nothing and show no progress bar, as in worker processes.

    Raises:
        UserError: the run cannot be resumed, or the settings are not supported; on entering the context, another
            process uses or has created an output folder.
    """

    def __init__(self, plan: RunPlan, quiet: bool = False) -> None:
        self.plan = plan
        self.settings = plan.settings
        self.folder = plan.output_dir
        self.quiet = quiet
        self.config = plan.settings.plain()
        self._open_loggers: list[Logger] = []
        self._held: ExitStack | None = None
        if plan.settings.model.execution == "stacked":
            stacked(plan, bare_trainer(plan.settings.trainer))
        self._resumption: Resumption | None = None
        if resumes(plan.settings, self.folder):
            self._resumption = Resumption(self.folder, self.config, plan.settings.ckpt_path, verify=is_first_process())
        self.exports = Exports(plan, resumed=self._resumption is not None)
        if self._resumption is not None:
            self._resumption.check_exports(self.exports.folders(), self.config)

    def __enter__(self) -> Self:
        exports = self.plan.exports.values()
        with ExitStack() as stack:
            stack.enter_context(locked(*([self.folder, *exports] if is_first_process() else [])))
            refuse_existing_outputs(self.settings, self.folder, exports)
            if self._resumption is not None:
                self._resumption.refuse_finished()
            self._held = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._held is not None
        begun = (self.folder / BEGUN).is_file()
        if isinstance(error, Interrupted):
            error.resumable = begun
        with self._held:
            for logger in self._open_loggers:
                if isinstance(logger, WandbLogger):
                    logger.experiment.finish()  # otherwise the run is flushed at process exit only
        if isinstance(error, KeyboardInterrupt) and begun:
            raise Interrupted("SIGINT", STATUS["SIGINT"]) from error

    def train(self) -> Trained:
        """Trains the plan's members jointly, with its merges.

        There is no test evaluation, and ``results.json`` is not written.

        Raises:
            UserError: an error during training: a full disk, or a member with repeated non-finite gradients.
            Interrupted: SIGTERM or Ctrl-C, after a checkpoint has been saved.
            RuntimeError: the context has not been entered.
        """
        if self._held is None:
            raise RuntimeError("train() must be called inside the context: with TrainingRun(plan) as run: run.train()")
        plan = self.plan
        self._begin()
        module = plan.joint(list(plan.members))
        self._introduce(module)
        merges: Merges | None = None
        callbacks: list[Callback | None] = [self._build("manifest", self.folder, self.config)]
        if plan.merges:
            merges, watching = self._merging()
            callbacks += watching
        data = plan.data(dict(plan.members))
        trainer = self._fit(module, data, callbacks)
        if merges is None:
            return Trained(plan, module, data, trainer)
        looked_at = {sources.target: merges.supervision_of(sources.target) for sources in plan.targets}
        return Trained(plan, module, data, trainer, tuple(merges.history), merges.models, looked_at)

    def say(self, text: str) -> None:
        """Prints on rank 0, unless the run is quiet."""
        if not self.quiet and is_first_process():
            print(text, flush=True)

    def _begin(self) -> None:
        """Records the configuration, for validation when resuming."""
        if not is_first_process():
            return
        if self._resumption is not None:
            self._resumption.clear_leftovers(self.plan.exports.values())
        if self.settings.save_config:
            asked = {key: value for key, value in self.config.items() if key not in ("resume", "ckpt_path")}
            write_text(self.folder / "config.yaml", dump_yaml(asked))
        if not (self.folder / BEGUN).is_file():
            write_json(self.folder / BEGUN, {"config": self.config})

    def _introduce(self, module: JointClassifier) -> None:
        plan = self.plan
        for note in plan.notes:
            self.say(note)
        self.say("\n".join(map(table, plan.targets)) or f"training {', '.join(plan.members)}")
        self.say(
            f"{counted(len(plan.members), 'member')} of {Path(self.settings.model.base).name} on {plan.corpus.name}, "
            f"learning rate {module.learning_rate:.1e}, {plan.vocabulary_used}, in {self.folder}"
        )

    def _build(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Builds a callback; None if it was removed."""
        return build_callback(name, self.settings.callbacks, *arguments, **named)

    def _merging(self) -> tuple[Merges, list[Callback | None]]:
        """Builds the merge callback and its companions."""
        plan, merging = self.plan, self.settings.merge
        assert plan.sources is not None
        merges = self._build(
            "merge",
            plan.sources.target,
            plan.sources.weights,
            check_merge(merging, plan.sources),
            merging,
            seed=plan.seed,
            base=plan.start,
            others={sources.target: sources.weights for sources in plan.targets[1:]},
        )
        return merges, [
            merges,
            self._build("dashboard", merges, self.folder, quiet=self.quiet),
            self._build("history", merges, self.folder),
            self._build("kept_merges", merges, self.folder, merging.keep_merges, self.exports.keep_merged),
        ]

    def _fit(self, module: JointClassifier, data: IntentDataModule, callbacks: Sequence[Callback | None]) -> Trainer:
        checkpoints = self.folder / CHECKPOINTS
        last = None
        if self._resumption is not None:
            last = self._resumption.last()
            self.say(f"resuming from {last.path}" if last else "no checkpoint yet, starting anew")
        trainer = Trainer(**self._trainer_arguments(checkpoints, callbacks))
        fit(trainer, module, last.path if last else None, datamodule=data)
        for optimizer in trainer.optimizers:  # moments are saved in the last checkpoint and no longer needed
            optimizer.state.clear()
        return trainer

    def _trainer_arguments(self, checkpoints: Path, callbacks: Sequence[Callback | None]) -> dict[str, Any]:
        arguments = built_arguments(self.settings.trainer)
        patience = self.settings.model.patience
        stopping = [] if patience is None else [self._build("member_stopping", patience)]
        saving = self._build("checkpoint", checkpoints, self.config, self.settings.checkpoint)
        guard = self._build("guard", saving, self.settings.guard)
        logs = [self._build("continued_logs"), self._build("throughput")]
        given: list[Callback] = arguments["callbacks"]
        if self.quiet:
            arguments["enable_progress_bar"] = False
        elif arguments.get("enable_progress_bar") is not False and not any(
            isinstance(one, ProgressBar) for one in given
        ):
            logs.append(self._build("progress"))
        every = [*given, *stopping, *callbacks, guard, *logs, saving]
        arguments["callbacks"] = [one for one in every if one is not None]
        if arguments.get("logger") is None or arguments["logger"] is True:
            arguments["logger"] = self._loggers()
        self._open_loggers += arguments["logger"] if isinstance(arguments["logger"], list) else []
        arguments["default_root_dir"] = checkpoints  # location of checkpoints of requeued SLURM jobs in Lightning
        arguments["strategy"] = strategy_for(
            arguments.get("strategy") or "auto", arguments.get("devices", 1), arguments.get("num_nodes", 1)
        )
        plugins = arguments.get("plugins") or []
        plugins = list(plugins) if isinstance(plugins, Sequence) and not isinstance(plugins, str) else [plugins]
        arguments["plugins"] = [*plugins, self._build("checkpoint_io")]
        return arguments

    def _loggers(self) -> list[Logger]:
        return run_loggers(self.folder, self.settings.enable_tensorboard, self.settings.enable_wandb)
