"""The evaluation loop, for all modules that map a batch to logits."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mu_lightning.data.encoding import Batch
from mu_lightning.evaluation.metrics import Scores, score
from mu_lightning.utilities.errors import NonFiniteError

Logits = Tensor | Mapping[str, Tensor]


class Packable(Protocol):
    """A module with a faster forward pass for constant weights."""

    def packed(self) -> AbstractContextManager[None]:
        """Packs the weights for evaluation; they must not change inside the context."""


@runtime_checkable
class Confident(Protocol):
    """A module whose output is not logits, or not only."""

    def confidences(self, output: Any) -> Logits:
        """Probability of each row's predicted label, shape (B,), for each output with a name of its own."""


class Collector:
    """Collects predictions of batches from all devices and computes scores.

    It is used by ``validation_step`` and by `evaluate`, so that both yield the same scores.

    Args:
        ids: locale -> ids of all rows of the split, in order; ``index`` of a batch refers to it.
        partial: whether only some of the rows are evaluated, as with ``limit_val_batches``.
    """

    def __init__(self, ids: Mapping[str, Any], partial: bool = False) -> None:
        self.ids = ids
        self.partial = partial
        self._parts: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
        self._confidences: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)

    def add(self, locale: str, batch: Batch, logits: Logits, confidences: Logits | None = None) -> None:
        """Adds the logits of a batch, (B, classes), or several named logits.

        Args:
            locale: the locale of the batch.
            batch: the batch.
            logits: the logits.
            confidences: the probability of each row's predicted label, (B,), to compute the calibration error from; for
                named logits by name.

        Raises:
            NonFiniteError: the logits contain a NaN or an infinity.
        """
        named = logits if isinstance(logits, Mapping) else {"": logits}
        for name, values in named.items():
            check_finite_logits(values, f"{name or 'the model'} on {locale}")
            columns = torch.stack([batch["index"], batch["labels"], values.argmax(dim=-1)])
            self._parts[name, locale].append(columns.cpu().numpy())
            if confidences is not None:
                found = confidences[name] if isinstance(confidences, Mapping) else confidences
                self._confidences[name, locale].append(found.float().cpu().numpy())

    def scores(self) -> dict[str, dict[str, Scores]]:
        """Computes scores: name -> locale -> scores; the name is ``""`` for unnamed logits.

        Raises:
            RuntimeError: rows of the split are missing or repeated.
        """
        result: dict[str, dict[str, Scores]] = defaultdict(dict)
        all_confidences = _gather(dict(self._confidences))
        for (name, locale), parts in _gather(dict(self._parts)).items():
            index, labels, predictions = np.concatenate(parts, axis=1)
            order = np.argsort(index, kind="stable")
            expected = np.unique(index) if self.partial else np.arange(len(self.ids[locale]))
            if not np.array_equal(index[order], expected):
                raise RuntimeError(f"{locale}: {len(index)} rows were scored, {len(expected)} expected, each once")
            found = all_confidences.get((name, locale))
            confidences = None if found is None else np.concatenate(found)[order]
            ids = np.asarray(self.ids[locale])[index[order]]
            result[name][locale] = score(locale, ids, labels[order], predictions[order], confidences)
        nothing = np.empty(0, dtype=np.int64)
        for locale in (locale for locale, ids in self.ids.items() if not len(ids)):
            for name in list(result) or [""]:
                result[name][locale] = score(locale, np.asarray([], dtype=str), nothing, nothing)
        return dict(result)


def check_finite_logits(logits: Tensor, what: str) -> None:
    """Raises NonFiniteError if logits contain a NaN or an infinity, which no class can be chosen by.

    Args:
        logits: of any shape.
        what: whose they are, and on what.
    """
    if not bool(torch.isfinite(logits).all()):
        kind = "a NaN" if bool(torch.isnan(logits).any()) else "an infinity"
        raise NonFiniteError(f"the logits of {what} contain {kind}: its weights are corrupt or too large")


@torch.inference_mode()
def evaluate_named(module: nn.Module, loaders: Mapping[str, "DataLoader[Batch]"]) -> dict[str, dict[str, Scores]]:
    """Evaluates a module with named logits: name -> locale -> scores.

    Args:
        module: maps a batch to logits (B, classes), or to a mapping of names to logits; its training mode is restored.
        loaders: locale -> batches; see `IntentDataModule.eval_loaders`.
    """
    collector = Collector({locale: _ids(loader) for locale, loader in loaders.items()})
    for locale, batch, output in _outputs(module, loaders):
        collector.add(locale, batch, output, confidences_of(module, output))
    return collector.scores()


def confidences_of(module: nn.Module, output: Logits) -> Logits:
    """Probability of each row's predicted label, shape (B,): of a `Confident` module, or by softmax.

    Args:
        module: gave the output; logits are divided by its ``temperature``, if it has one.
        output: logits of shape (B, classes), or several by name.
    """
    if isinstance(module, Confident):
        return module.confidences(output)
    if isinstance(output, Mapping):
        return {name: torch.softmax(logits, dim=-1).amax(dim=-1) for name, logits in output.items()}
    return torch.softmax(output / getattr(module, "temperature", 1.0), dim=-1).amax(dim=-1)


@torch.inference_mode()
def labeled_logits(module: nn.Module, loaders: Mapping[str, "DataLoader[Batch]"]) -> tuple[np.ndarray, np.ndarray]:
    """The logits of this device's rows, shape (rows, classes), and their labels, shape (rows,), in the loaders' order.

    Args:
        module: maps a batch to logits; its training mode is restored.
        loaders: locale -> labeled batches.
    """
    found = [(output.float().cpu(), batch["labels"].cpu()) for _, batch, output in _outputs(module, loaders)]
    logits, labels = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return logits, labels


def _outputs(module: nn.Module, loaders: Mapping[str, "DataLoader[Batch]"]) -> Iterator[tuple[str, Batch, Any]]:
    """Each batch, on the module's device, with its locale and what the module gives for it; not in training mode."""
    # Buffers first: parameters may be offloaded.
    tensors = itertools.chain(module.buffers(), module.parameters())
    device = next((tensor.device for tensor in tensors), torch.device("cpu"))
    training = module.training
    module.eval()
    try:
        with packed(module):
            for locale, loader in loaders.items():
                for batch in loader:
                    here = moved(batch, device)
                    yield locale, here, module(here)
    finally:
        module.train(training)


def evaluate(module: nn.Module, loaders: Mapping[str, "DataLoader[Batch]"]) -> dict[str, Scores]:
    """Evaluates a member, a merged model or an ensemble: locale -> scores."""
    return evaluate_named(module, loaders)[""]


@contextmanager
def packed(module: nn.Module) -> Iterator[None]:
    """Packs all `Packable` submodules inside the context."""
    with ExitStack() as stack:
        for part in module.modules():
            # Looked up in the class: failing attribute access is slow for nn.Module instances.
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
