"""`fit --locales all --skip-existing`: what is left to train."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mu_lightning.training.missing_models import settle_locales
from mu_lightning.utilities.errors import UserError


def config(models_dir: Path, base: Path, locales: Any, **more: Any) -> Any:
    values = {
        "locales": locales,
        "skip_existing": True,
        "target_lang": None,
        "multilingual": False,
        "target_languages": None,
        "all_leave_one_out": False,
        "exclude": None,
        "models_dir": models_dir,
        "output_dir": None,
        "data": SimpleNamespace(corpus="small", data_dir=None),
        "model": SimpleNamespace(base=str(base)),
    }
    return SimpleNamespace(**values | more)


@pytest.fixture
def models(tiny_base: Path, tmp_path: Path) -> Path:
    (tmp_path / f"{tiny_base.name}_small_nl-NL").mkdir()
    return tmp_path


def test_all_is_every_locale_of_the_corpus_and_those_with_a_model_are_left_out(models: Path, tiny_base: Path) -> None:
    found = config(models, tiny_base, ["all"])
    assert settle_locales(found)
    assert found.locales == ["af-ZA", "en-US", "de-DE"]
    every = config(models, tiny_base, ["all"], skip_existing=False)
    assert settle_locales(every)
    assert every.locales == ["af-ZA", "en-US", "de-DE", "nl-NL"]


def test_nothing_is_left_where_all_have_a_model(models: Path, tiny_base: Path, capsys: Any) -> None:
    assert not settle_locales(config(models, tiny_base, "nl-NL"))
    assert "1 of 1 models are in" in capsys.readouterr().out


def test_a_later_run_has_a_folder_of_its_own(
    models: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (config(models, tiny_base, ["all"]) for _ in range(2))
    settle_locales(first)
    first.output_dir.mkdir(parents=True)
    (first.output_dir / "results.json").write_text("{}")
    settle_locales(second)
    assert second.output_dir.name == f"{first.output_dir.name}-2"


def test_a_model_of_all_locales_together_is_one_model(models: Path, tiny_base: Path) -> None:
    found = config(models, tiny_base, ["all"], multilingual=True)
    assert settle_locales(found)
    assert len(found.locales) == 4
    (models / f"{tiny_base.name}_small_multilingual").mkdir()
    assert not settle_locales(config(models, tiny_base, ["all"], multilingual=True))


def test_a_target_has_no_source_models_to_skip(models: Path, tiny_base: Path) -> None:
    with pytest.raises(UserError, match="leave it out"):
        settle_locales(config(models, tiny_base, ["all"], target_lang="af-ZA"))
    found = config(models, tiny_base, ["all"], target_lang="af-ZA", skip_existing=False)
    assert settle_locales(found)
    assert "af-ZA" not in found.locales
