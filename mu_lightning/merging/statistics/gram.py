"""Gram matrices of the inputs of linear layers, in a source model (RegMean) or in the merged model (RegMean++).

RegMean: Jin et al., Dataless Knowledge Fusion by Merging Weights of Language Models, 2022.
https://arxiv.org/abs/2212.09849
RegMean++: Nguyen et al., RegMean++: Enhancing Effectiveness and Generalization of Regression Mean, 2025.
https://arxiv.org/abs/2508.03121
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mu_lightning.utilities.errors import UserError

Batch = Mapping[str, Tensor]
State = Mapping[str, Tensor]
Grams = dict[str, Tensor]


@torch.no_grad()
def gram_matrices(model: nn.Module, batches: Iterable[Batch]) -> Grams:
    """Computes the mean of x xᵀ over the inputs x of every linear layer, one for each non-padding token.

    Args:
        model: the classifier; it is set to evaluation mode.
        batches: the texts.

    Returns:
        Weight name -> Gram matrix, [inputs, inputs], symmetric, on the model's device.
    """
    model.eval()
    with _collecting(_linear_layers(model)) as collected:
        for batch in batches:
            collected.mask = batch["attention_mask"].bool()
            model(**batch)
    return collected.means()


@torch.no_grad()
def merged_gram_matrices(
    model: nn.Module,
    sources: Mapping[str, State],
    batches: Mapping[str, Sequence[Batch]],
    merge: Callable[[Sequence[str], Mapping[str, Grams]], State],
) -> Iterator[dict[str, Grams]]:
    """Computes Gram matrices of the inputs in the merged model: block by block of the encoder, then the head.

    Within a block the layers are those of the source, as in the paper.

    Args:
        model: a classifier of the sources' architecture; its weights are overwritten.
        sources: source name -> state dict, which may be memory-mapped.
        batches: source name -> texts.
        merge: merges the named tensors, given the Gram matrices of each source.

    Yields:
        Source name -> Gram matrices, for each block and then for the head.

    Raises:
        UserError: the model has no list of blocks.
    """
    model.eval()
    prefix, blocks = _blocks(model)
    layers = _linear_layers(model)
    inside = {name for name in layers if name.startswith(f"{prefix}.")}
    head = {name: module for name, module in layers.items() if name not in inside}
    tensors = list(next(iter(sources.values())))
    heads = [f"{name}.{part}" for name in head for part in ("weight", "bias") if f"{name}.{part}" in tensors]
    below = [name for name in tensors if not name.startswith(f"{prefix}.") and name not in heads]
    _load(model, merge(below, {name: {} for name in sources}))
    calls = {name: [_first_call(model, blocks[0], batch) for batch in batches[name]] for name in sources}
    for index, block in enumerate(blocks):
        stem = f"{prefix}.{index}."
        names = [name for name in tensors if name.startswith(stem)]
        own = {name: module for name, module in layers.items() if name.startswith(stem)}
        grams: dict[str, Grams] = {}
        for source, state in sources.items():
            _load(model, {name: state[name] for name in names})
            with _collecting(own) as collected:
                for call in calls[source]:
                    collected.mask = call.mask
                    call.through(block)
            grams[source] = collected.means()
        yield grams
        _load(model, merge(names, grams))
        for source in sources:
            for call in calls[source]:
                call.advance(block)
    grams = {}
    for source, state in sources.items():
        _load(model, {name: state[name] for name in heads})
        with _collecting(head) as collected:
            for batch in batches[source]:
                collected.mask = batch["attention_mask"].bool()
                model(**batch)
        grams[source] = collected.means()
    yield grams


class _Collected:
    """Sums of x xᵀ by layer. `mask` [rows, tokens] marks the non-padding tokens of the current batch."""

    def __init__(self) -> None:
        self.mask: Tensor | None = None
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, name: str, inputs: Tensor) -> None:
        """Adds the inputs of a layer, [rows, tokens, inputs] or [rows, inputs]."""
        if self.mask is not None and inputs.dim() == 3 and inputs.shape[:2] == self.mask.shape:
            inputs = inputs[self.mask]
        inputs = inputs.reshape(-1, inputs.shape[-1]).float()
        key = f"{name}.weight"
        if key not in self._sums:
            self._sums[key], self._counts[key] = inputs.new_zeros((inputs.shape[1],) * 2), 0
        self._sums[key].addmm_(inputs.T, inputs)
        self._counts[key] += len(inputs)

    def means(self) -> Grams:
        """Returns the mean of x xᵀ by layer."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}


@contextmanager
def _collecting(layers: Mapping[str, nn.Linear]) -> Iterator[_Collected]:
    collected = _Collected()

    def hook(name: str) -> Callable[..., None]:
        return lambda module, arguments: collected.add(name, arguments[0])

    handles = [module.register_forward_pre_hook(hook(name)) for name, module in layers.items()]
    try:
        yield collected
    finally:
        for handle in handles:
            handle.remove()


def _linear_layers(model: nn.Module) -> dict[str, nn.Linear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def _blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Returns the encoder's blocks and their name: the longest module list."""
    stacks = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not stacks:
        raise UserError("RegMean++ merges block by block, and this model has no list of blocks: use regmean")
    return max(stacks, key=lambda found: len(found[1]))


def _load(model: nn.Module, tensors: State) -> None:
    places = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, tensor in tensors.items():
        if name in places:
            places[name].copy_(tensor)


class _ReachedError(Exception):
    """Raised at the first block, to skip the rest of the forward pass."""


class _Call:
    """Arguments of the current block for one batch."""

    def __init__(self, arguments: tuple[Any, ...], named: dict[str, Any], mask: Tensor) -> None:
        self._arguments, self._named, self.mask = arguments, named, mask

    def through(self, block: nn.Module) -> Tensor:
        """Returns the output of the block, [rows, tokens, width]."""
        output = block(*self._arguments, **self._named)
        return output[0] if isinstance(output, tuple) else output

    def advance(self, block: nn.Module) -> None:
        """Uses the output of the block as the input of the next."""
        output = self.through(block)
        if self._arguments:
            self._arguments = (output, *self._arguments[1:])
        else:
            self._named = {**self._named, "hidden_states": output}


def _first_call(model: nn.Module, block: nn.Module, batch: Batch) -> _Call:
    """Captures the arguments of the first block."""
    seen: list[_Call] = []

    def stop(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        seen.append(_Call(arguments, named, batch["attention_mask"].bool()))
        raise _ReachedError

    handle = block.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        model(**batch)
    except _ReachedError:
        pass
    finally:
        handle.remove()
    return seen[0]
