"""Source models for what runs over many of them: tiny, untrained, each with weights of its own."""

from pathlib import Path
from typing import Any

import pytest

from mu_lightning.checkpoints import load_base, load_tokenizer, save_model

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
def registered(small_corpus: None) -> None:
    """Every test here may use the corpus ``small``."""
