"""AdaMerging's coefficients against Adam through a graph of the whole merge."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from mu_lightning.merging.methods.adamerging import AdaMerging
from mu_lightning.merging.statistics.coefficients import learned_coefficients


def entropy(model: nn.Module, tensors: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    chances = functional_call(model, dict(tensors), (), dict(batch)).logits.softmax(-1)
    return -(chances * chances.log()).sum(-1).mean()


@pytest.mark.parametrize("level", ["layer", "task"])
def test_it_does_what_adam_does_through_the_merge(
    level: str, model: nn.Module, states: dict[str, dict[str, Tensor]], batches: Callable
) -> None:
    base = {name: tensor.clone() for name, tensor in model.state_dict().items() if not name.startswith("classifier.")}
    head = {name: sum(state[name] for state in states.values()) / 2 for name in states["nl-NL"] if name not in base}
    settings = AdaMerging(coefficients=level, learning_rate=0.02, initial=0.3)
    texts = batches(12, 3)
    found = learned_coefficients(model, base, states, head, texts, settings)

    names = list(base)
    learned = torch.full((2, len(names) if level == "layer" else 1), 0.3, requires_grad=True)
    optimizer = torch.optim.Adam([learned], lr=0.02)

    def merged() -> dict[str, Tensor]:
        factors = learned.expand(2, len(names))
        return {
            name: base[name]
            + sum(factors[i, place] * (state[name] - base[name]) for i, state in enumerate(states.values()))
            for place, name in enumerate(names)
        }

    model.eval()
    for batch in texts:
        optimizer.zero_grad()
        entropy(model, merged() | head, batch).backward()
        optimizer.step()
    for index, source in enumerate(states):
        assert found[source].keys() == base.keys()
        for place, name in enumerate(names):
            expected = learned.expand(2, len(names))[index, place].detach()
            torch.testing.assert_close(found[source][name], expected, rtol=0, atol=1e-5)
    values = {value.item() for value in found["nl-NL"].values()}
    assert len(values) == 1 if level == "task" else len(values) > 10


def test_it_makes_the_merged_model_more_certain(
    model: nn.Module, states: dict[str, dict[str, Tensor]], batches: Callable
) -> None:
    base, (texts,) = model.state_dict(), batches(12, 12)

    def certainty(coefficients: Mapping[str, Mapping[str, Tensor]]) -> float:
        tensors = {
            name: tensor + sum(coefficients[source][name] * (states[source][name] - tensor) for source in states)
            for name, tensor in base.items()
        }
        return entropy(model, tensors, texts).item()

    settings = AdaMerging(learning_rate=0.01)
    before = certainty({source: dict.fromkeys(base, torch.tensor(0.3)) for source in states})
    found = learned_coefficients(model, base, states, {}, [texts] * 30, settings)
    assert certainty(found) < 0.8 * before
