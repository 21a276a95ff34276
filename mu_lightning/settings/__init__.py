"""Typed settings of a run: `RunSettings` and its groups.

Importing this package does not import torch.
"""

from mu_lightning.settings.groups import (
    EMBEDDED_BASE,
    LEAST_TUNED,
    TUNE,
    Adapter,
    AdapterMerge,
    CheckpointSettings,
    ClassWeights,
    CorpusSettings,
    DataSettings,
    Execution,
    Follow,
    GuardSettings,
    LearningRateAfter,
    LoraSettings,
    MergeSettings,
    ModelSettings,
    Moments,
    MomentsDtype,
    Outer,
    Reweight,
    Sync,
    Tune,
    Vocabulary,
)
from mu_lightning.settings.pretrain import PretrainSettings
from mu_lightning.settings.run import DEFAULT_MODELS_DIR, RunSettings
from mu_lightning.settings.trainer import TRAINER_DEFAULTS, TrainerArguments
from mu_lightning.settings.typology import DEFAULT_FEATURE_SET, SIMILARITY_SOURCES, TypologySettings

__all__ = [
    "DEFAULT_FEATURE_SET",
    "DEFAULT_MODELS_DIR",
    "EMBEDDED_BASE",
    "LEAST_TUNED",
    "SIMILARITY_SOURCES",
    "TRAINER_DEFAULTS",
    "TUNE",
    "Adapter",
    "AdapterMerge",
    "CheckpointSettings",
    "ClassWeights",
    "CorpusSettings",
    "DataSettings",
    "Execution",
    "Follow",
    "GuardSettings",
    "LearningRateAfter",
    "LoraSettings",
    "MergeSettings",
    "ModelSettings",
    "Moments",
    "MomentsDtype",
    "Outer",
    "PretrainSettings",
    "Reweight",
    "RunSettings",
    "Sync",
    "TrainerArguments",
    "Tune",
    "TypologySettings",
    "Vocabulary",
]
