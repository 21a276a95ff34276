"""What many tests share: a tiny base, a small corpus of real phrases, and short training runs on them."""

import os

# Before torch is imported, and for every process that a test starts: results must not hang on the number of threads,
# and small matrices are slower with many.
os.environ["OMP_NUM_THREADS"] = "1"

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

from mu_lightning.checkpoints import load_base, load_tokenizer, save_model
from mu_lightning.data.cldr import CldrCorpus
from mu_lightning.data.corpus import Rows, Split
from mu_lightning.data.module import IntentDataModule
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.joint import JointClassifier
from mu_lightning.settings import DataSettings, MergeSettings, ModelSettings
from mu_lightning.training.pretraining import train_tokenizer

# In a shell's background job Ctrl-C is ignored, and every process that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
# Locale -> rows of its train split: uneven on purpose, none a multiple of a batch.
TRAIN_ROWS = {"en-US": 61, "de-DE": 37, "nl-NL": 21}
DEV_ROWS, TEST_ROWS = 45, 70


def pytest_configure(config: pytest.Config) -> None:
    # What Lightning's own code and its hints for larger machines say; nothing of ours.
    for line in (
        r"ignore:::lightning\.pytorch\.utilities\._pytree",
        "ignore:.*does not have many workers",
        "ignore:The dirpath has changed",
    ):
        config.addinivalue_line("filterwarnings", line)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


class SmallCorpus:
    """The first rows of some locales of the embedded corpus, as a corpus of its own."""

    name = "small"
    label_names = CldrCorpus.label_names
    locales = ("af-ZA", *TRAIN_ROWS)
    notes: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._whole = CldrCorpus()

    def rows(self, locale: str, split: Split) -> Rows:
        count = {"train": TRAIN_ROWS.get(locale, 30), "dev": DEV_ROWS, "test": TEST_ROWS}[split]
        return self._whole.rows(locale, split).select(range(count))


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache of this session alone: nothing of another run is read, and nothing is left behind in a home."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MU_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def corpus() -> SmallCorpus:
    return SmallCorpus()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, corpus: SmallCorpus) -> Path:
    """A model folder with a random XLM-R of two layers of 32 and 400 pieces, without dropout; read it, don't write."""
    return _base(tmp_path_factory, corpus, dropout=0.0)


@pytest.fixture(scope="session")
def dropout_base(tmp_path_factory: pytest.TempPathFactory, corpus: SmallCorpus) -> Path:
    """The same with dropout of 0.1 everywhere."""
    return _base(tmp_path_factory, corpus, dropout=0.1)


def _base(factory: pytest.TempPathFactory, corpus: SmallCorpus, dropout: float) -> Path:
    texts = [text for locale in corpus.locales for text in CldrCorpus().rows(locale, "train").texts]
    tokenizer = train_tokenizer(texts, 400)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        type_vocab_size=1,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        layer_norm_eps=1e-5,
        # Much larger than XLM-R's 0.02, so that models with different weights predict different labels.
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = XLMRobertaForMaskedLM(config)
    folder = factory.mktemp("bases") / f"tiny-{dropout}"
    save_model(folder, model, tokenizer, {})
    return folder


DATA = DataSettings(batch_size=8, eval_batch_size=16, max_length=32)
# At a higher rate so small a model soon answers with the commonest label alone, and equal answers would show nothing.
MODEL = ModelSettings(learning_rate=1e-3, warmup=0.2)


@pytest.fixture(scope="session")
def data_module(corpus: SmallCorpus, tiny_base: Path) -> Callable[..., IntentDataModule]:
    """Makes a data module of the small corpus: ``data_module(members, seed=0, **settings)``."""
    tokenizer = load_tokenizer(tiny_base)

    def make(members: Sequence[str] | Mapping[str, Sequence[str]] = (), seed: int = 0, **settings: Any) -> Any:
        chosen = members if isinstance(members, Mapping) else {name: (name,) for name in members}
        return IntentDataModule(corpus, tokenizer, replace(DATA, **settings), chosen, seed=seed)

    return make


@pytest.fixture(scope="session")
def joint(corpus: SmallCorpus, tiny_base: Path) -> Callable[..., JointClassifier]:
    """Makes members that start from one base and head: ``joint(names, base=..., seed=0, **settings)``."""

    def make(names: Sequence[str], base: Path | None = None, seed: int = 0, **settings: Any) -> JointClassifier:
        source = base or tiny_base
        members = {name: IntentClassifier(load_base(source, corpus.label_names, seed)) for name in names}
        return JointClassifier(members, replace(MODEL, **settings), seed)

    return make


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Makes a silent Trainer on the CPU: ``trainer(max_epochs, *callbacks, **arguments)``."""

    def make(max_epochs: int, *callbacks: Callback, **arguments: Any) -> Trainer:
        quiet = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "limit_val_batches": 0,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Trainer(
                devices=1,
                max_epochs=max_epochs,
                callbacks=list(callbacks),
                default_root_dir=tmp_path,
                use_distributed_sampler=False,
                **{"accelerator": "cpu", **quiet, **arguments},
            )

    return make


def merge_settings(tolerance: float | None = None, **settings: Any) -> MergeSettings:
    """Merge settings whose tolerance may be negative, as no user's may: then no merge is ever good enough."""
    found = MergeSettings(**settings)
    object.__setattr__(found, "tolerance", tolerance)
    return found
