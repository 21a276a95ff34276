"""A training run from a checked plan to its results: fit, merges, exports, scores."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger, WandbLogger

from mu_lightning.approaches.comparison import compare, score_members
from mu_lightning.checkpoints import model_folder_name
from mu_lightning.data.module import IntentDataModule
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.joint import JointClassifier
from mu_lightning.monitoring.loggers import run_loggers
from mu_lightning.monitoring.sinks import report_models
from mu_lightning.results.provenance import data_fingerprints
from mu_lightning.results.results import Result, show, write_results
from mu_lightning.results.run_folders import JOINT_RESULT, POOLED
from mu_lightning.training.checkpointing.resuming import BEGUN, Resumption, resumes
from mu_lightning.training.distributed import strategy_for
from mu_lightning.training.exports import Exports
from mu_lightning.training.fitting import bare_trainer, fit, stacked
from mu_lightning.training.merging.merge_plan import check_merge
from mu_lightning.training.merging.merge_round import last_weights
from mu_lightning.training.run_plan import RunPlan, is_first_process, refuse_existing_outputs
from mu_lightning.typology.plan import table
from mu_lightning.utilities.files import write_json, write_text
from mu_lightning.utilities.locks import locked
from mu_lightning.utilities.tables import counted


class TrainingRun:
    """Trains what the plan says and leaves results in the run's folder.

    Args:
        plan: the checked run.
        trainer: arguments of Lightning's Trainer.
        config: the whole configuration as plain values, for the record.
        callbacks: the classes of the package ``callbacks``, by name.

    Raises:
        UserError: it is to go on with a run that it cannot go on with, or to compute as it cannot.
    """

    def __init__(
        self, plan: RunPlan, trainer: Mapping[str, Any], config: dict[str, Any], callbacks: Mapping[str, Any]
    ) -> None:
        self.plan = plan
        self.folder = plan.output_dir
        self.config = config
        self.callbacks = callbacks
        self._trainer_arguments = dict(trainer)
        self._open_loggers: list[Logger] = []
        if plan.config.model.execution == "stacked":
            stacked(plan, bare_trainer(trainer))
        self._resumption: Resumption | None = None
        if resumes(plan.config, self.folder):
            self._resumption = Resumption(self.folder, config, plan.config.ckpt_path, verify=is_first_process())
            self._resumption.check_exports(plan.exports.values(), config)
        self.exports = Exports(plan, config, resumed=self._resumption is not None)

    def run(self) -> list[Result]:
        """Fits, exports, scores and reports; with a target also merges, and compares if asked.

        Raises:
            UserError: another process is writing into one of the run's folders, or has written into it.
        """
        outputs = [self.folder, *self.plan.exports.values()] if is_first_process() else []
        try:
            with locked(*outputs):
                refuse_existing_outputs(self.plan.config, self.folder, self.plan.exports.values())
                if self._resumption is not None:
                    self._resumption.refuse_finished()
                return self._run()
        finally:
            for logger in self._open_loggers:
                if isinstance(logger, WandbLogger):
                    logger.experiment.finish()  # else the run is written out only when the process ends

    def _run(self) -> list[Result]:
        plan = self.plan
        self._begin()
        module = plan.joint(list(plan.members))
        self._say("\n".join(map(table, plan.targets)) or f"training {', '.join(plan.members)}")
        self._say(
            f"{counted(len(plan.members), 'member')} of {Path(plan.config.model.base).name} on {plan.corpus.name}, "
            f"learning rate {module.learning_rate:.1e}, {plan.pieces}, in {self.folder}"
        )
        extra: list[Callback] = [self.callbacks["Manifest"](self.folder, self.config)]
        merges = None
        if plan.merges:
            assert plan.sources is not None
            merges = self.callbacks["MergeCallback"](
                plan.sources.target,
                plan.sources.weights,
                check_merge(plan.config.merge, plan.sources),
                plan.config.merge,
                seed=plan.seed,
                base=plan.start,
                others={sources.target: sources.weights for sources in plan.targets[1:]},
            )
            extra += [
                merges,
                self.callbacks["Dashboard"](merges, self.folder),
                self.callbacks["History"](merges, self.folder),
                self.callbacks["KeptMerges"](
                    merges, self.folder, plan.config.merge.keep_merges, self.exports.keep_merged
                ),
            ]
        data = plan.data(plan.members)
        trainer = self._fit(module, data, "fit", extra)
        if plan.merges:
            results = self._targeted(module, data, merges, trainer)
        elif plan.targets:
            results = self._pooled(module, data, trainer)
        else:
            results = self._exported(module, data, trainer)
        self._report(results, data, trainer)
        return results

    def _begin(self) -> None:
        """Leaves a note of what was begun, before anything else: an attempt to resume compares with it."""
        resumption = self._resumption
        if not is_first_process():
            return
        if resumption is not None:
            resumption.clear_leftovers(self.plan.exports.values())
        if self.plan.config.save_config:
            asked = {key: value for key, value in self.config.items() if key not in ("config", "resume", "ckpt_path")}
            write_text(self.folder / "config.yaml", yaml.safe_dump(asked, sort_keys=False, allow_unicode=True))
        if not (self.folder / BEGUN).is_file():
            write_json(self.folder / BEGUN, {"config": self.config})

    def _fit(
        self, module: JointClassifier, data: IntentDataModule, stage: str, callbacks: Sequence[Callback]
    ) -> Trainer:
        checkpoints = self.folder / "checkpoints" / stage
        saving = self.callbacks["RunCheckpoint"](checkpoints, self.config, self.plan.config.checkpoint)
        last = None
        if self._resumption is not None:
            last = self._resumption.last(stage)
            self._say(f"going on from {last.path}" if last else f"{stage}: no checkpoint yet, it begins anew")
        arguments = dict(self._trainer_arguments)
        # Callbacks from a configuration have state of their own: each fit gets fresh ones.
        patience = self.plan.config.model.patience
        stopping = [] if patience is None else [self.callbacks["MemberStopping"](patience)]
        guard = self.callbacks["Guard"](saving, self.plan.config.guard)
        logs = [self.callbacks["ContinuedLogs"](), self.callbacks["Throughput"]()]
        given = copy.deepcopy(arguments.get("callbacks") or [])
        given = [given] if isinstance(given, Callback) else list(given)
        if arguments.get("enable_progress_bar") is not False and not any(isinstance(one, ProgressBar) for one in given):
            logs.append(self.callbacks["Progress"]())
        arguments["callbacks"] = [*given, *stopping, *callbacks, guard, *logs, saving]
        arguments["logger"] = arguments.get("logger") or self._loggers(stage)
        self._open_loggers += arguments["logger"] if isinstance(arguments["logger"], list) else []
        arguments["default_root_dir"] = checkpoints  # where Lightning looks for what a requeued SLURM job left
        arguments["strategy"] = strategy_for(
            arguments.get("strategy", "auto"), arguments.get("devices", 1), arguments.get("num_nodes", 1)
        )
        plugins = arguments.get("plugins") or []
        plugins = list(plugins) if isinstance(plugins, Sequence) and not isinstance(plugins, str) else [plugins]
        arguments["plugins"] = [*plugins, self.callbacks["DurableCheckpointIO"]()]
        trainer = Trainer(**arguments)
        fit(trainer, module, last.path if last else None, datamodule=data)
        for optimizer in trainer.optimizers:  # the moments are in the last checkpoint, and not needed any more
            optimizer.state.clear()
        return trainer

    def _loggers(self, stage: str) -> list[Logger]:
        config = self.plan.config
        return run_loggers(self.folder, stage, config.enable_tensorboard, config.enable_wandb and stage == "fit")

    def _targeted(self, module: JointClassifier, data: IntentDataModule, merges: Any, trainer: Trainer) -> list[Result]:
        plan = self.plan
        results = self._references() + self._joint_reference() if plan.config.compare else []
        for sources in plan.targets:
            state = merges.models.get(sources.target)
            if state is None:
                # There is no merged model then, and none must be made up.
                self._say(
                    f"{sources.target}: {'every merge was rolled back' if merges.history else 'nothing was merged'}: "
                    "the run has no merged model, so the members are scored as they are"
                )
                module.to(trainer.strategy.root_device)
                results += score_members({name: module.member(name) for name in sources.sources}, sources, data)
                continue
            final = self.plan.merged(state).to(trainer.strategy.root_device)
            scores = evaluate(final, data.eval_loaders("test", [sources.target]))
            weights = last_weights(merges.history, sources.target)
            details = {"weights": weights, "merges": len(merges.history)}
            supervision = merges.supervision_of(sources.target)
            results.append(Result("iterative merging", scores[sources.target], supervision, details))
            folder, report = self.exports.merged_folder(sources), self.exports.merge_report(sources, merges.history)
            self.exports.save(folder, final, sources.sources, trainer, report)
            for logger in trainer.loggers if trainer.is_global_zero else ():
                report_models(logger, self.folder, sources.target, folder, details)
        if not merges.models:
            for name in plan.members:
                own = model_folder_name(plan.config.model.base, plan.corpus.name, name)
                self.exports.save(self.folder / "members" / own, module.member(name), [name], trainer)
        return results

    def _references(self) -> list[Result]:
        """The same members without merges, and the targets' own: trained side by side, kept, and scored."""
        plan = self.plan
        targets = [sources.target for sources in plan.targets]
        members = {**plan.members, **{target: (target,) for target in targets}}
        self._say(f"for comparison, without merges: {', '.join(plan.members)}, and {', '.join(targets)} natively")
        module, data = plan.joint(list(members)), plan.data(members)
        trainer = self._fit(module, data, "references", [])
        module.to(trainer.strategy.root_device)
        for name in members:
            folder = model_folder_name(plan.config.model.base, plan.corpus.name, name)
            self.exports.save(self.folder / "sources" / folder, module.member(name), [name], trainer)
        base, results = plan.start or plan.joint([targets[0]]).member(targets[0]).merge_state(), []
        for sources in plan.targets:
            classifiers = {name: module.member(name) for name in sources.sources}
            native = module.member(sources.target)
            results += compare(classifiers, native, sources, data, plan.config.merge, plan.seed, base)
        return results

    def _joint_reference(self) -> list[Result]:
        """One model on all the sources together, as ``--multilingual`` trains it."""
        self._say(f"for comparison, one model on all of: {', '.join(self.plan.members)}")
        module, data = self.plan.joint([POOLED]), self.plan.data({POOLED: tuple(self.plan.members)})
        return self._pooled(module, data, self._fit(module, data, "joint", []))

    def _pooled(self, module: JointClassifier, data: IntentDataModule, trainer: Trainer) -> list[Result]:
        """Keeps and scores one model on all sources together, zero-shot on the targets: what merging wants to reach."""
        module.to(trainer.strategy.root_device)
        ((name, sources),) = data.members.items()
        scores = evaluate(module.member(name), data.eval_loaders("test", [plan.target for plan in self.plan.targets]))
        self.exports.save(self.folder / name, module.member(name), sources, trainer)
        details = {"sources": list(sources)}
        return [Result(JOINT_RESULT, found, details=details) for found in scores.values()]

    def _exported(self, module: JointClassifier, data: IntentDataModule, trainer: Trainer) -> list[Result]:
        module.to(trainer.strategy.root_device)
        results = []
        for name, locales in self.plan.members.items():
            member = module.member(name)
            unseen = self.plan.unseen[name]
            # Of models that leave out one locale each, the others' scores would fill the table.
            seen = () if self.plan.config.all_leave_one_out else locales
            for tag, scores in evaluate(member, data.eval_loaders("test", [*seen, *unseen])).items():
                results.append(Result(name, scores, "none" if tag in unseen else "target-labels"))
            self.exports.save(self.plan.exports[name], member, locales, trainer)
        return results

    def _report(self, results: list[Result], data: IntentDataModule, trainer: Trainer) -> None:
        if not trainer.is_global_zero:
            return
        scored = sorted({result.scores.locale for result in results})
        write_results(
            self.folder,
            results,
            {
                "verb": "fit",
                "config": self.config,
                "seed": self.plan.seed,
                "test_fingerprints": data_fingerprints(data, scored, ("test",)),
            },
        )
        self._say("\n" + show(results) + "\n")
        for what, path in self._paths().items():
            self._say(f"{what}: {path}")

    def _paths(self) -> dict[str, Path]:
        if not self.plan.targets:
            return {f"model {name}": path for name, path in self.plan.exports.items()} | {
                "scores": self.folder / "results.json"
            }
        paths = {
            "merged model": self.folder / "merged",
            "multilingual model": self.folder / POOLED,
            "members": self.folder / "members",
            "scores": self.folder / "results.json",
            "what each merge changed": self.folder / "merges.html",
            "accuracy around each merge": self.folder / "merges.png",
        }
        return {what: path for what, path in paths.items() if path.exists()}

    def _say(self, text: str) -> None:
        if is_first_process():
            print(text, flush=True)
