"""Model folders of a training run: members, merged models, and the model of each merge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from mu_lightning.checkpoints import save_model
from mu_lightning.data.module import IntentDataModule
from mu_lightning.evaluation.calibration import calibrate, stored_temperature
from mu_lightning.merging.folders.folder_report import write_details
from mu_lightning.merging.method_parameters import build_parameters
from mu_lightning.merging.registry import find_method
from mu_lightning.models.adapters import AdaptedClassifier
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.training.members import POOLED
from mu_lightning.training.merging.merge_round import last_weights
from mu_lightning.training.run_plan import RunPlan
from mu_lightning.typology.plan import SourcePlan
from mu_lightning.utilities.files import is_empty
from mu_lightning.utilities.listings import write_listing


class Exports:
    """Saves the model folders of a run.

    Args:
        plan: the run.
        resumed: whether the run is resumed and may have saved some.
    """

    def __init__(self, plan: RunPlan, resumed: bool) -> None:
        self._plan = plan
        self._config = plan.settings.plain()
        self._resumed = resumed

    def merged_folder(self, sources: SourcePlan) -> Path:
        """Folder of the merged model of a target."""
        merged = self._plan.output_dir / "merged"
        return merged / sources.target if len(self._plan.targets) > 1 else merged

    def folders(self) -> list[Path]:
        """The model folders that the run saves, as far as they are known before it trains."""
        run = self._plan.output_dir
        merged = [self.merged_folder(sources) for sources in self._plan.targets]
        return [*self._plan.exports.values(), *merged, run / POOLED, *sorted((run / "members").glob("*"))]

    def keep_merged(
        self, folder: Path, target: str, state: Mapping[str, Tensor], history: Sequence[dict[str, Any]]
    ) -> None:
        """Saves the merged model of the last merge."""
        sources = next(sources for sources in self._plan.targets if sources.target == target)
        details = {"command": "fit", "locales": list(sources.sources), "target": target, "config": self._config}
        report = self.merge_report(sources, history)

        def more(folder: Path) -> None:
            report(folder)
            write_listing(folder)

        save_model(folder, self._plan.merged(state).plain().model, self._plan.tokenizer, details, more)

    def save(
        self,
        folder: Path,
        classifier: IntentClassifier,
        locales: Sequence[str],
        trainer: Trainer,
        more: Callable[[Path], None] | None = None,
    ) -> None:
        """Saves a model folder with its temperature on rank 0, unless a resumed run has it; the classifier gets it."""
        temperature = stored_temperature(folder)
        if trainer.is_global_zero and not (self._resumed and not is_empty(folder)):
            details = {"command": "fit", "locales": list(locales), "target": self._plan.target, "config": self._config}
            with_adapter = self._plan.settings.model.lora.save_adapter
            data: IntentDataModule = trainer.datamodule  # type: ignore[attr-defined]
            calibration = calibrate(classifier, data.eval_loaders("dev", locales))
            temperature = calibration.temperature

            def extra(folder: Path) -> None:
                if with_adapter and isinstance(classifier, AdaptedClassifier):
                    classifier.save_adapter(folder / "adapter")
                calibration.write(folder)
                if more is not None:
                    more(folder)

            save_model(folder, classifier.plain().model, self._plan.tokenizer, details, extra)
        classifier.temperature = trainer.strategy.broadcast(temperature)

    def merge_report(self, sources: SourcePlan, history: Sequence[dict[str, Any]]) -> Callable[[Path], None]:
        """Returns a function that writes the report of a merged model into its folder."""
        merging = self._plan.settings.merge
        method = find_method(merging.method)
        weights = last_weights(history, sources.target)
        details = {
            "mode": "merged while training",
            "target": sources.target,
            "preweight": sources.preweight,
            "base": Path(self._plan.settings.model.base).name,
            "sources": [
                {"source": tag, "weight": weights[tag], "similarity": sources.similarities[tag]}
                for tag in sources.sources
            ],
            "parameters": asdict(build_parameters(method, merging.parameters)),
            "merges": [
                f"{record['index']} in epoch {record['epoch']}, {record['reason']}, "
                + ("committed" if record["targets"][sources.target]["committed"] else "rolled back")
                for record in history
            ],
        }
        return lambda folder: write_details(folder, method, details)
