from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from mu_lightning.data.hub import hub_corpus
from mu_lightning.settings import CorpusSettings
from mu_lightning.utilities.errors import UserError


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A local data set of two configurations, each a language: the layout of the hub, with its card."""
    for tag in ("en", "yo"):
        (tmp_path / tag).mkdir()
        rows = [{"sentence": f"{tag} {row}", "intent": "ab"[row % 2]} for row in range(20)]
        Dataset.from_list(rows).to_parquet(tmp_path / tag / "train.parquet")
    configs = "".join(f"- config_name: {tag}\n  data_files: {tag}/train.parquet\n" for tag in ("en", "yo"))
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def settings(dataset: Any = None, **more: Any) -> CorpusSettings:
    return CorpusSettings("hub", dataset=None if dataset is None else str(dataset), **more)


def test_configurations_are_languages(configured: Path) -> None:
    corpus = hub_corpus(settings(configured, configs="en,yo"))
    assert corpus.locales == ("en", "yo")
    assert corpus.label_names == ("a", "b")
    assert set(corpus.rows("yo", "train").texts) < {f"yo {row}" for row in range(20)}
    assert len(corpus.rows("yo", "dev")) == 2
    assert "dev rows drawn from train for en, yo" in corpus.notes[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "has no column of languages \\(found sentence, intent\\): name it with --language-column"),
        ({"configs": "en,klingonish"}, "klingonish"),
        ({"configs": "en,de"}, "cannot be loaded .*de"),
    ],
)
def test_what_names_no_language_or_configuration_is_refused(
    configured: Path, more: dict[str, Any], message: str
) -> None:
    if not more:  # without configurations every file of the folder is read
        (configured / "README.md").unlink()
    with pytest.raises(UserError, match=message):
        _ = hub_corpus(settings(configured, **more)).locales


def test_a_data_set_must_be_named_and_loadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--corpus hub needs --dataset"):
        hub_corpus(settings())
    with pytest.raises(UserError, match="leave out --data-dir"):
        hub_corpus(settings("x", data_dir=tmp_path))
    with pytest.raises(UserError, match=r"the dataset .* cannot be loaded .*: check --dataset and --configs"):
        _ = hub_corpus(settings(tmp_path / "none" / "such" / "data", configs="en")).locales
