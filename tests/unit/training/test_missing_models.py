"""`fit --locales all --skip-existing`: what is left to train."""

from pathlib import Path
from typing import Any

import pytest

from mu_lightning.settings import DataSettings, ModelSettings, RunSettings
from mu_lightning.training.missing_models import settle_locales
from mu_lightning.utilities.errors import UserError


def settings(models_dir: Path, base: Path, locales: str, **more: Any) -> RunSettings:
    values = {
        "skip_existing": True,
        "models_dir": models_dir,
        "data": DataSettings(corpus="small"),
        "model": ModelSettings(base=str(base)),
    }
    return RunSettings(locales=locales, **values | more)  # type: ignore[arg-type]


@pytest.fixture
def models(tiny_base: Path, tmp_path: Path) -> Path:
    (tmp_path / f"{tiny_base.name}_small_nl-NL").mkdir()
    return tmp_path


def test_all_is_every_locale_of_the_corpus_and_those_with_a_model_are_left_out(models: Path, tiny_base: Path) -> None:
    asked = settings(models, tiny_base, "all")
    left = settle_locales(asked)
    assert left is not None
    assert left.locales == ("af-ZA", "en-US", "de-DE")
    assert asked.locales == ("all",)
    without = settle_locales(settings(models, tiny_base, "", exclude="af-ZA"))
    assert without is not None
    assert without.locales == ("en-US", "de-DE")
    every = settings(models, tiny_base, "all", skip_existing=False)
    assert settle_locales(every) == every


def test_nothing_is_left_where_all_have_a_model(models: Path, tiny_base: Path, capsys: Any) -> None:
    assert settle_locales(settings(models, tiny_base, "nl-NL")) is None
    assert "1 of 1 models are in" in capsys.readouterr().out


def test_a_later_run_has_a_folder_of_its_own(
    models: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    first = settle_locales(settings(models, tiny_base, "all"))
    assert first is not None
    assert first.output_dir is not None
    first.output_dir.mkdir(parents=True)
    (first.output_dir / "results.json").write_text("{}")
    second = settle_locales(settings(models, tiny_base, "all"))
    assert second is not None
    assert second.output_dir == first.output_dir.with_name(f"{first.output_dir.name}-2")


def test_a_model_of_all_locales_together_is_one_model(models: Path, tiny_base: Path) -> None:
    found = settle_locales(settings(models, tiny_base, "all", multilingual=True))
    assert found is not None
    assert len(found.locales) == 4
    (models / f"{tiny_base.name}_small_multilingual").mkdir()
    assert settle_locales(settings(models, tiny_base, "all", multilingual=True)) is None


def test_a_target_has_no_source_models_to_skip(models: Path, tiny_base: Path) -> None:
    with pytest.raises(UserError, match="remove it"):
        settle_locales(settings(models, tiny_base, "all", target_lang="af-ZA"))
