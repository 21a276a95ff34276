"""Source models for what runs over many of them (tiny, untrained, each with weights of its own), and plans of runs."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.checkpoints import load_base, load_tokenizer, save_model
from mu_lightning.data import registry
from mu_lightning.experiments.run_plan import RunPlan, plan_run
from mu_lightning.settings import DataSettings, MergeSettings, ModelSettings
from mu_lightning.typology.plan import TypologySettings

MODELS = ("de-DE", "en-US", "nl-NL")


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory, corpus: Any, tiny_base: Path) -> Path:
    """A folder of three source models of the small corpus."""
    folder = tmp_path_factory.mktemp("models")
    details = {"config": {"model": {"base": str(tiny_base)}, "data": {"corpus": "small"}}}
    for seed, tag in enumerate(MODELS):
        model = load_base(tiny_base, corpus.label_names, 0)
        other = load_base(tiny_base, corpus.label_names, seed)
        for parameter, head in zip(model.classifier.parameters(), other.classifier.parameters(), strict=True):
            parameter.data.copy_(head.data)
        for parameter in model.roberta.parameters():
            parameter.data.add_(parameter.data.roll(seed), alpha=0.2 * seed)
        save_model(folder / f"tiny_small_{tag}", model, load_tokenizer(tiny_base), details)
    return folder


@pytest.fixture(autouse=True)
def small_corpus(corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus ``small`` is registered in this process."""
    monkeypatch.setitem(registry.CORPORA, "small", lambda data_dir: corpus)


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
