"""A training run from a checked plan to its results: fit, merges, exports, scores."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger, WandbLogger

from mu_lightning.checkpoints import model_folder_name, save_model
from mu_lightning.data.module import IntentDataModule
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.experiments.comparison import compare
from mu_lightning.experiments.fitting import fit
from mu_lightning.experiments.provenance import data_fingerprints
from mu_lightning.experiments.results import Result, show, write_results
from mu_lightning.experiments.resuming import BEGUN, Resumption, resumes
from mu_lightning.experiments.run_plan import RunPlan, is_first_process
from mu_lightning.files import write_json
from mu_lightning.merging.folder_report import write_details
from mu_lightning.merging.parameters import build_parameters
from mu_lightning.merging.registry import find_method
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.distributed import strategy_for
from mu_lightning.models.joint import JointClassifier
from mu_lightning.schedules import EveryEpochs
from mu_lightning.typology.plan import table
from mu_lightning.watching.loggers import run_loggers
from mu_lightning.watching.sinks import report_model


class TrainingRun:
    """Trains what the plan says and leaves results in the run's folder.

    Args:
        plan: the checked run.
        trainer: arguments of Lightning's Trainer.
        config: the whole configuration as plain values, for the record.
        callbacks: the classes of the package ``callbacks``, by name.

    Raises:
        UserError: it is to go on with a run that it cannot go on with.
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
        self._resumption: Resumption | None = None
        if resumes(plan.config, self.folder):
            self._resumption = Resumption(self.folder, config, plan.config.ckpt_path, verify=is_first_process())
            self._resumption.check_exports(plan.exports.values(), config)

    def run(self) -> list[Result]:
        """Fits, exports, scores and reports; with a target also merges, and compares if asked."""
        try:
            return self._run()
        finally:
            for logger in self._open_loggers:
                if isinstance(logger, WandbLogger):
                    logger.experiment.finish()  # else the run is written out only when the process ends

    def _run(self) -> list[Result]:
        plan = self.plan
        self._begin()
        module = plan.joint(list(plan.members))
        self._say(table(plan.sources) if plan.sources else f"training {', '.join(plan.members)}")
        self._say(
            f"{len(plan.members)} members of {Path(plan.config.model.base).name} on {plan.corpus.name}, learning rate "
            f"{module.learning_rate:.1e}, in {self.folder}"
        )
        extra: list[Callback] = [self.callbacks["Manifest"](self.folder, self.config)]
        merges = None
        if plan.sources:
            merges = self.callbacks["MergeCallback"](
                plan.sources.target,
                plan.sources.weights,
                EveryEpochs(plan.config.merge.frequency),
                plan.config.merge,
                seed=plan.seed,
                base={name: tensor.clone() for name, tensor in plan.base.state_dict().items()},
            )
            extra += [merges, self.callbacks["Dashboard"](merges, self.folder)]
        data = plan.data(plan.members)
        trainer = self._fit(module, data, "fit", extra)
        results = (
            self._targeted(module, data, merges, trainer) if plan.sources else self._exported(module, data, trainer)
        )
        self._report(results, data, trainer)
        return results

    def _begin(self) -> None:
        """Leaves a note of what was begun, before anything else: an attempt to resume compares with it."""
        resumption = self._resumption
        if not is_first_process():
            return
        if resumption is not None:
            resumption.clear_leftovers(self.plan.exports.values())
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
        guard = self.callbacks["Guard"](saving, self.plan.config.guard)
        own = [*callbacks, guard, self.callbacks["ContinuedLogs"](), self.callbacks["Throughput"](), saving]
        arguments["callbacks"] = [*copy.deepcopy(arguments.get("callbacks") or []), *own]
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
        return trainer

    def _loggers(self, stage: str) -> list[Logger]:
        config = self.plan.config
        return run_loggers(self.folder, stage, config.enable_tensorboard, config.enable_wandb and stage == "fit")

    def _targeted(self, module: JointClassifier, data: IntentDataModule, merges: Any, trainer: Trainer) -> list[Result]:
        plan = self.plan
        assert plan.sources is not None
        target = plan.sources.target
        found = []
        if merges.merged is None:
            # There is no merged model then, and none must be made up.
            self._say("every merge was rolled back: the run has no merged model")
        else:
            final = IntentClassifier(copy.deepcopy(plan.base)).to(trainer.strategy.root_device)
            final.model.load_state_dict(merges.merged)
            scores = evaluate(final, data.eval_loaders("test", [target]))
            details = {"weights": plan.sources.weights, "merges": len(merges.history)}
            found = [Result("iterative merging", scores[target], merges.supervision, details)]
            self._save(self.folder / "merged", final, plan.sources.sources, trainer, self._merge_report(merges))
            for logger in trainer.loggers if trainer.is_global_zero else ():
                report_model(
                    logger, self.folder / "merged", f"{self.folder.name}-merged", {"target": target, **details}
                )
        return [*(self._references() if plan.config.compare else []), *found]

    def _references(self) -> list[Result]:
        """The same members without merges, and the target's own: trained side by side, kept, and scored."""
        plan = self.plan
        assert plan.sources is not None
        target, sources = plan.sources.target, plan.sources.sources
        members = {**plan.members, target: (target,)}
        self._say(f"for comparison, without merges: {', '.join(sources)}, and {target} natively")
        module, data = plan.joint(list(members)), plan.data(members)
        trainer = self._fit(module, data, "references", [])
        module.to(trainer.strategy.root_device)
        for name in members:
            folder = model_folder_name(plan.config.model.base, plan.corpus.name, name)
            self._save(self.folder / "sources" / folder, module.member(name), [name], trainer)
        classifiers = {name: module.member(name) for name in sources}
        native, base = module.member(target), plan.base.state_dict()
        return compare(classifiers, native, plan.sources, data, plan.config.merge, plan.seed, base)

    def _exported(self, module: JointClassifier, data: IntentDataModule, trainer: Trainer) -> list[Result]:
        module.to(trainer.strategy.root_device)
        results = []
        for name, locales in self.plan.members.items():
            member = module.member(name)
            for scores in evaluate(member, data.eval_loaders("test", locales)).values():
                results.append(Result(name, scores, "target-labels"))
            self._save(self.plan.exports[name], member, locales, trainer)
        return results

    def _save(
        self,
        folder: Path,
        classifier: IntentClassifier,
        locales: Sequence[str],
        trainer: Trainer,
        more: Callable[[Path], None] | None = None,
    ) -> None:
        """Writes a model folder in the first process; a resumed run may have it already."""
        if trainer.is_global_zero and not (self._resumption and folder.is_dir()):
            details = {"verb": "fit", "locales": list(locales), "target": self.plan.target, "config": self.config}
            save_model(folder, classifier.model, self.plan.tokenizer, details, more)

    def _merge_report(self, merges: Any) -> Callable[[Path], None]:
        sources, merging = self.plan.sources, self.plan.config.merge
        assert sources is not None
        method = find_method(merging.method)
        details = {
            "mode": "merged while training",
            "target": sources.target,
            "preweight": sources.preweight,
            "base": Path(self.plan.config.model.base).name,
            "sources": [
                {"source": tag, "weight": sources.weights[tag], "similarity": sources.similarities[tag]}
                for tag in sources.sources
            ],
            "parameters": asdict(build_parameters(method, merging.parameters)),
            "merges": [
                f"{record['index']} after epoch {record['epoch']}, {record['reason']}, "
                + ("committed" if record["committed"] else "rolled back")
                for record in merges.history
            ],
        }
        return lambda folder: write_details(folder, method, details)

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
        if self.plan.sources is None:
            return {f"model {name}": path for name, path in self.plan.exports.items()} | {
                "scores": self.folder / "results.json"
            }
        paths = {
            "merged model": self.folder / "merged",
            "scores": self.folder / "results.json",
            "what each merge changed": self.folder / "merges.html",
            "accuracy around each merge": self.folder / "merges.png",
        }
        return {what: path for what, path in paths.items() if path.exists()}

    def _say(self, text: str) -> None:
        if is_first_process():
            print(text, flush=True)
