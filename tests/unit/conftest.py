"""What unit tests share: the small corpus by its name; the record of a merge, as `MergeCallback` keeps one."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.approaches.base import identity_of
from mu_lightning.approaches.one_shot import OneShot
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.registry import APPROACHES
from mu_lightning.approaches.single import Single
from mu_lightning.checkpoints import load_base, load_tokenizer, save_model
from mu_lightning.data import registry
from mu_lightning.results.identity import Identity
from mu_lightning.settings import DataSettings

MODELS = ("de-DE", "en-US", "nl-NL")


@pytest.fixture(autouse=True)
def small_corpus(corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus ``small`` is registered in this process."""
    monkeypatch.setitem(registry.CORPORA, "small", lambda data_dir: corpus)


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


@pytest.fixture(scope="session")
def identity() -> Callable[..., Identity]:
    """What a result is of: ``identity("ties", target="af-ZA", sources=..., seed=0, **parameters)``.

    The first word is an approach's name, or a merge method: it is merged once then.
    """

    def make(
        what: str = "linear",
        target: str = "af-ZA",
        sources: Sequence[str] = ("de-DE", "en-US", "it-IT"),
        seed: int = 0,
        corpus: str = "cldr",
        split: Any = "test",
        **parameters: Any,
    ) -> Identity:
        problem = Problem(target, DataSettings(corpus=corpus), "xlm-r-cldr", split=split)
        kind = APPROACHES.get(what, OneShot)
        if kind is not Single:
            parameters = {"num_languages": len(sources), **parameters}
        approach = kind(**parameters, **({} if what in APPROACHES else {"method": what}))
        return identity_of(problem, approach, seed, sources)

    return make


@pytest.fixture(scope="session")
def merge_record() -> Callable[..., dict[str, Any]]:
    """Makes a record: ``merge_record(index, members=3, gain=0.02, committed=True, targets=("af-ZA",), **fields)``."""

    def make(
        index: int,
        members: int | Sequence[str] = 3,
        gain: float = 0.02,
        committed: bool = True,
        targets: Sequence[str] = ("af-ZA",),
        **fields: Any,
    ) -> dict[str, Any]:
        names = [f"m{place}" for place in range(members)] if isinstance(members, int) else list(members)
        before = {name: 0.5 + 0.01 * place for place, name in enumerate(names)}
        mean = sum(before.values()) / len(names)
        pairs = {f"{one}|{other}": 0.25 * (place + 1) for place, (one, other) in enumerate(combinations(names, 2))}
        return {
            "index": index,
            "epoch": 2 * index,
            "step": 10 * index,
            "reason": "every 2 epochs",
            "method": "linear",
            "sync": "replace",
            "moments": "average",
            "committed": committed,
            "seconds": 1.5,
            "targets": {
                target: {
                    "weights": dict.fromkeys(names, 1 / len(names)),
                    "scored_on": "target",
                    "before": {**before, "ensemble": 0.6},
                    "mean_before": mean,
                    "after": mean + gain,
                    "gain": gain,
                    "committed": committed,
                }
                for target in targets
            },
            "sources": {name: {"before": 0.8, "after": 0.75} for name in names},
            "distances": pairs,
            "drift": sum(pairs.values()) / len(pairs) if pairs else 0.0,
            "schedule": {"name": "every-epochs", "n": 2},
            **fields,
        }

    return make
