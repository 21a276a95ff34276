"""The one evaluation loop: whatever maps a batch to logits is scored here, and nowhere else."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mu_lightning.data.encoding import Batch
from mu_lightning.evaluation.metrics import Scores, score

Logits = Tensor | Mapping[str, Tensor]


class Packable(Protocol):
    """A module that can answer faster while its weights stay as they are."""

    def packed(self) -> AbstractContextManager[None]:
        """Lays the weights out for scoring; they must not change before the end."""


class Collector:
    """Gathers predictions batch by batch, from all devices at the end, and scores them.

    Lightning's ``validation_step`` and `evaluate` both feed one, so both give the same numbers.

    Args:
        ids: locale -> ids of all rows of the split, in order: a batch's ``index`` points into it.
    """

    def __init__(self, ids: Mapping[str, Any]) -> None:
        self.ids = ids
        self._parts: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)

    def add(self, locale: str, batch: Batch, logits: Logits) -> None:
        """Takes a batch's logits, (B, classes), or several named ones of the same batch."""
        named = logits if isinstance(logits, Mapping) else {"": logits}
        for name, values in named.items():
            columns = torch.stack([batch["index"], batch["labels"], values.argmax(dim=-1)])
            self._parts[name, locale].append(columns.cpu().numpy())

    def scores(self) -> dict[str, dict[str, Scores]]:
        """Name -> locale -> scores; the name is ``""`` for a module that gives one tensor.

        Raises:
            RuntimeError: the devices' parts do not make up the split, each row once.
        """
        result: dict[str, dict[str, Scores]] = defaultdict(dict)
        for (name, locale), parts in _gather(dict(self._parts)).items():
            index, labels, predictions = np.concatenate(parts, axis=1)
            order = np.argsort(index, kind="stable")
            if not np.array_equal(index[order], np.arange(len(self.ids[locale]))):
                raise RuntimeError(
                    f"{locale}: {len(index)} rows were scored, {len(self.ids[locale])} expected, each once"
                )
            result[name][locale] = score(locale, np.asarray(self.ids[locale]), labels[order], predictions[order])
        nothing = np.empty(0, dtype=np.int64)
        for locale in (locale for locale, ids in self.ids.items() if not len(ids)):
            for name in list(result) or [""]:
                result[name][locale] = score(locale, np.asarray([], dtype=str), nothing, nothing)
        return dict(result)


@torch.inference_mode()
def evaluate_named(module: nn.Module, loaders: Mapping[str, "DataLoader[Batch]"]) -> dict[str, dict[str, Scores]]:
    """Scores a module that may give several named logits a batch: name -> locale -> scores.

    Args:
        module: maps a batch to logits (B, classes), or to a mapping of names to such; its training mode is restored.
        loaders: locale -> batches, as `IntentDataModule.eval_loaders` gives them.
    """
    # Buffers first: parameters may rest in ordinary memory for a while.
    tensors = itertools.chain(module.buffers(), module.parameters())
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    collector = Collector({locale: _ids(loader) for locale, loader in loaders.items()})
    training = module.training
    module.eval()
    try:
        with packed(module):
            for locale, loader in loaders.items():
                for batch in loader:
                    here = moved(batch, device)
                    collector.add(locale, here, module(here))
    finally:
        module.train(training)
    return collector.scores()


def evaluate(module: nn.Module, loaders: Mapping[str, "DataLoader[Batch]"]) -> dict[str, Scores]:
    """Scores a member, a merged model or an ensemble: locale -> scores."""
    return evaluate_named(module, loaders)[""]


@contextmanager
def packed(module: nn.Module) -> Iterator[None]:
    """Every `Packable` part of a module packed, for as long as it lasts."""
    with ExitStack() as stack:
        for part in module.modules():
            # Looked up in the class: an instance of nn.Module is slow to say that it lacks something.
            if hasattr(type(part), "packed"):
                stack.enter_context(cast(Packable, part).packed())
        yield


def _ids(loader: "DataLoader[Batch]") -> Any:
    rows: Any = loader.dataset
    return rows.ids


def moved(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device."""
    there: Any = {name: tensor.to(device, non_blocking=True) for name, tensor in dict[str, Any](batch).items()}
    return there


def _gather(parts: dict[tuple[str, str], list[np.ndarray]]) -> dict[tuple[str, str], list[np.ndarray]]:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return parts
    gathered: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, parts)
    merged: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
    for one in gathered:
        for key, arrays in one.items():
            merged[key] += arrays
    return merged
