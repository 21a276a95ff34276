"""Every shipped configuration is good: those of `fit` plan, alone or after the quickstart; a sweep's are read."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mu_lightning.commands import sweep
from mu_lightning.commands.fit import _shipped_configs
from mu_lightning.commands.lightning_cli import FitCLI

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml"))
SWEEPS = [name for name in CONFIGS if "target_languages" in yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))]


class Planned(FitCLI):
    """`fit` up to the point where training would begin."""

    def fit(self) -> None:
        assert self.run is not None


def planned(*arguments: str) -> Any:
    run = Planned(["fit", *_shipped_configs(list(arguments))]).run
    assert run is not None
    return run.plan


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in SWEEPS])
def test_a_shipped_configuration_is_a_run_that_can_begin(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    asked = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    places = ["--output-dir", str(tmp_path / "run"), "--models-dir", str(tmp_path / "models")]
    before = [] if {"target_lang", "locales"} & asked.keys() else ["--config", "configs/quickstart.yaml"]
    offline = []
    if asked.get("data", {}).get("corpus") == "massive":  # what the hub would give is not at hand
        offline = ["--data.corpus", "cldr", "--model.base", "checkpoints/xlm-r-cldr"]
    plan = planned(*before, "--config", name, *places, *offline)
    assert plan.members
    for group in ("data", "model", "merge"):
        for key, value in asked.get(group, {}).items():
            if not offline and not isinstance(value, dict):
                assert str(getattr(getattr(plan.settings, group), key)) == str(value), f"{group}.{key}"
    for key, value in asked.get("trainer", {}).items():
        assert plan.settings.trainer[key] == value, f"trainer.{key}"


@pytest.mark.parametrize("name", SWEEPS)
def test_a_shipped_grid_is_read_by_the_command_sweep(name: str) -> None:
    asked = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    found = sweep.parser().parse_args(sweep._with_grids(["--config", str(ROOT / name)]))
    assert found.seeds == asked["seeds"]
    assert sorted(found.methods, key=str) == sorted(asked.get("methods", []), key=str)
    assert len(found.approaches) == len(asked.get("approaches", []))
