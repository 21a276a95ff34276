"""Plans of runs."""

from pathlib import Path
from typing import Any

import pytest

from mu_lightning.settings import DataSettings, ModelSettings, RunSettings
from mu_lightning.training.run_plan import RunPlan, plan_run


@pytest.fixture
def plan(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plans a run of the small corpus in an empty folder: ``plan(locales=..., target_lang=...)``."""
    monkeypatch.chdir(tmp_path)

    def make(**changes: Any) -> RunPlan:
        defaults: dict[str, Any] = {
            "seed": 3,
            "num_languages": 2,
            "models_dir": Path("models"),
            "data": DataSettings(corpus="small"),
            "model": ModelSettings(base=str(tiny_base)),
            "trainer": {"accelerator": "cpu"},
        }
        return plan_run(RunSettings(**{**defaults, **changes}))

    return make
