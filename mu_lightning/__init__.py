"""mu-lightning: train intent classifiers of several locales together and merge them by typology.

Names are imported on first use, so that ``import mu_lightning`` is fast:

>>> import mu_lightning as mu
>>> weights = mu.source_weights("sq-AL", ["it-IT", "el-GR", "en-US"])
>>> sorted(weights, key=weights.get)
['it-IT', 'el-GR', 'en-US']
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Module of each name.
_HOMES = {
    "Ensemble": "mu_lightning.approaches.ensemble",
    "Iterative": "mu_lightning.approaches.iterative",
    "Joint": "mu_lightning.approaches.joint",
    "OneShot": "mu_lightning.approaches.one_shot",
    "Single": "mu_lightning.approaches.single",
    "Tuned": "mu_lightning.approaches.tuned",
    "Problem": "mu_lightning.approaches.problem",
    "Training": "mu_lightning.approaches.base",
    "DataSettings": "mu_lightning.settings",
    "MergeSettings": "mu_lightning.settings",
    "ModelSettings": "mu_lightning.settings",
    "Results": "mu_lightning.api",
    "sweep": "mu_lightning.api",
    "advise": "mu_lightning.advice.advising",
    "evaluate": "mu_lightning.evaluation.loop",
    "load": "mu_lightning.inference",
    "load_ensemble": "mu_lightning.inference",
    "merge_folders": "mu_lightning.merging.folders.streaming",
    "merge_tensors": "mu_lightning.merging.engine.in_memory",
    "report": "mu_lightning.reporting.report",
    "source_weights": "mu_lightning.api",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # cache the attribute
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
