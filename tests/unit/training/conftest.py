"""Plans of runs."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.settings import DataSettings, MergeSettings, ModelSettings
from mu_lightning.training.run_plan import RunPlan, plan_run
from mu_lightning.typology.plan import TypologySettings


@pytest.fixture
def plan(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plans a run of the small corpus in an empty folder: ``plan(locales=..., target_lang=...)``."""
    monkeypatch.chdir(tmp_path)

    def make(**changes: Any) -> RunPlan:
        defaults: dict[str, Any] = {
            "seed_everything": 3,
            "locales": None,
            "target_lang": None,
            "target_languages": None,
            "num_languages": 2,
            "preweight": "uriel",
            "weights": None,
            "multilingual": False,
            "exclude": None,
            "all_leave_one_out": False,
            "compare": False,
            "models_dir": Path("models"),
            "output_dir": None,
            "resume": False,
            "ckpt_path": None,
            "enable_wandb": False,
            "data": DataSettings(corpus="small"),
            "model": ModelSettings(base=str(tiny_base)),
            "typology": TypologySettings(),
            "merge": MergeSettings(),
            "trainer": {},
        }
        return plan_run(Namespace(**{**defaults, **changes}))

    return make
