"""The compact classifier: transformers' logits and gradients, from rows without padding; dropout from its own seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mu_lightning.checkpoints import load_base
from mu_lightning.data.encoding import Batch
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.cpu.attention import Dropout
from mu_lightning.models.cpu.compact import CompactClassifier, unpad

PADDING = 1
Make = Callable[..., IntentClassifier]


@pytest.fixture
def classifier(corpus: Any, tiny_base: Path, dropout_base: Path) -> Make:
    """A member in training: ``classifier(dropout=False)``."""

    def make(dropout: bool = False) -> IntentClassifier:
        return IntentClassifier(load_base(dropout_base if dropout else tiny_base, corpus.label_names, 0)).train()

    return make


def batch_of(*lengths: int, seed: int = 0) -> Batch:
    """Rows of random tokens of the given lengths, padded to a multiple of 8."""
    random = torch.Generator().manual_seed(seed)
    width = -(-max(lengths) // 8) * 8
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(5, 300, mask.shape, generator=random)
    ids[:, 0] = 0
    labels = torch.randint(0, 25, (len(lengths),), generator=random)
    return Batch(
        input_ids=torch.where(mask.bool(), ids, PADDING),
        attention_mask=mask,
        labels=labels,
        index=torch.arange(len(lengths)),
        share=torch.tensor(1.0),
    )


def weighed(logits: Tensor, batch: Batch) -> Tensor:
    """A loss that weighs rows differently."""
    losses = cross_entropy(logits, batch["labels"], reduction="none")
    return (losses * torch.arange(1, len(losses) + 1)).sum()


def gradients(member: IntentClassifier, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The gradient of each parameter, as autograd finds it."""
    member.zero_grad()
    weighed(logits, batch).backward()
    return {name: parameter.grad.clone() for name, parameter in member.named_parameters() if parameter.grad is not None}


def compact(
    member: IntentClassifier, batch: Batch, seed: int = 0, lower: torch.dtype | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits and the gradient of each parameter, as the compact classifier finds them."""
    classifier = CompactClassifier(member.model)
    with torch.no_grad():
        logits, back = classifier(batch, seed, lower)
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(weighed(logits, batch), logits)
    with torch.no_grad():
        found = back(gradient)
    names = {id(parameter): name for name, parameter in member.named_parameters()}
    own = [names[id(parameter)] for parameter in classifier.parameters]
    return logits.detach(), dict(zip(own, found, strict=True))


def logits_of(member: IntentClassifier, batch: Batch, seed: int = 0) -> Tensor:
    with torch.no_grad():
        return CompactClassifier(member.model)(batch, seed)[0]


UNEVEN = [
    pytest.param([7, 7, 7, 7], id="one length"),
    pytest.param([3, 3, 5, 9, 9, 24], id="sorted"),
    pytest.param([9, 3, 24, 3, 9, 5, 3], id="in any order"),
    pytest.param([8] * 4, id="a whole number of steps"),
    pytest.param([2], id="one short row"),
]


@pytest.mark.parametrize("lengths", UNEVEN)
def test_logits_and_gradients_are_those_of_transformers(classifier: Make, lengths: list[int]) -> None:
    member, batch = classifier(), batch_of(*lengths)
    plain = member(batch)
    expected = gradients(member, plain, batch)
    logits, found = compact(member, batch)
    torch.testing.assert_close(logits, plain, atol=1e-5, rtol=0)
    assert found.keys() == expected.keys() == dict(member.named_parameters()).keys()
    for name in expected:
        scale = max(1.0, float(expected[name].abs().max()))
        torch.testing.assert_close(found[name] / scale, expected[name] / scale, atol=1e-5, rtol=0, msg=name)


def test_what_the_comparison_rests_on_gradients_are_not_small_and_padding_tells(classifier: Make) -> None:
    member, batch = classifier(), batch_of(3, 9, 24)
    expected = gradients(member, member(batch), batch)
    small = [name for name, gradient in expected.items() if gradient.abs().max() < 1e-2]
    assert all(name.endswith("self.key.bias") for name in small)
    unmasked = Batch({**batch, "attention_mask": torch.ones_like(batch["attention_mask"])})
    assert (member(unmasked) - member(batch)).abs().max() > 1e-2


def test_a_row_has_the_same_logits_alone_and_beside_longer_ones(classifier: Make) -> None:
    member, batch = classifier(), batch_of(3, 24, 9)
    together = logits_of(member, batch)
    for row, length in enumerate((3, 24, 9)):
        alone = Batch({**batch, "input_ids": batch["input_ids"][row : row + 1, :length]})
        alone["attention_mask"] = torch.ones_like(alone["input_ids"])
        torch.testing.assert_close(together[row : row + 1], logits_of(member, alone), atol=1e-5, rtol=0)


def test_rows_lie_end_to_end_and_positions_begin_after_the_padding_id(classifier: Make) -> None:
    batch = batch_of(5, 2, 5)
    rows = unpad(batch, PADDING)
    ids = batch["input_ids"]
    assert rows.groups == [(1, 2), (2, 5)]
    assert rows.order.tolist() == [1, 0, 2]
    assert rows.first.tolist() == [0, 2, 7]
    expected = [*ids[1, :2].tolist(), *ids[0, :5].tolist(), *ids[2, :5].tolist()]
    assert rows.tokens.tolist() == [*expected, *[PADDING] * (32 - 12)]
    embeddings: Any = classifier().model.roberta.embeddings
    places = embeddings.create_position_ids_from_input_ids(ids, PADDING)
    assert rows.places.tolist()[:12] == [*places[1, :2].tolist(), *places[0, :5].tolist(), *places[2, :5].tolist()]


def test_dropout_follows_from_its_seed_and_from_nothing_else(classifier: Make) -> None:
    member, batch = classifier(dropout=True), batch_of(3, 9, 24)
    one = logits_of(member, batch, 5)
    torch.rand(3)
    same, other = logits_of(member, batch, 5), logits_of(member, batch, 6)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    member.eval()
    torch.testing.assert_close(logits_of(member, batch, 5), member(batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"])
def test_gradients_under_dropout_are_those_of_the_function_that_the_seed_chooses(classifier: Make, kind: str) -> None:
    """Against differences of the loss along each parameter's gradient; the seed makes it one smooth function."""
    member, batch = classifier(dropout=True), batch_of(3, 9, 9, 24, 24)
    config: Any = member.model.config
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
        setattr(config, name, 0.2 if name == kind else 0.0)
    _, found = compact(member, batch, 3)
    parameters, compared = dict(member.named_parameters()), 0
    for name, gradient in found.items():
        norm = float(gradient.norm())
        if norm < 1e-2:  # the bias of keys has no effect
            continue
        step, parameter = gradient / norm * 1e-2, parameters[name]
        with torch.no_grad():
            parameter.add_(step)
            above = weighed(logits_of(member, batch, 3), batch).double()
            parameter.sub_(2 * step)
            below = weighed(logits_of(member, batch, 3), batch).double()
            parameter.add_(step)
        assert float(above - below) / 2e-2 == pytest.approx(norm, rel=2e-2)
        compared += 1
    assert compared >= len(found) - 2


def test_in_bfloat16_it_is_as_near_to_float32_as_transformers_is(classifier: Make) -> None:
    member, batch = classifier(), batch_of(9, 3, 24, 3, 9, 5, 3)
    exact = gradients(member, member(batch), batch)
    with torch.autocast("cpu", torch.bfloat16):
        plain = member(batch)
    theirs = gradients(member, plain, batch)
    logits, ours = compact(member, batch, lower=torch.bfloat16)
    assert {gradient.dtype for gradient in ours.values()} == {torch.float32}
    assert logits.dtype == torch.float32

    def error(found: dict[str, Tensor]) -> float:
        difference = sum(float((found[name] - exact[name]).norm()) ** 2 for name in exact)
        return (difference / sum(float(exact[name].norm()) ** 2 for name in exact)) ** 0.5

    assert 1e-4 < error(ours) < 1.5 * error(theirs) < 0.2


def test_factors_drop_the_share_they_should_and_keep_the_mean() -> None:
    factors = Dropout(0.25, torch.Generator().manual_seed(0)).factors(torch.empty(400, 500))
    assert factors.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert float((factors == 0).float().mean()) == pytest.approx(0.25, abs=5e-3)
    assert Dropout(0.25, None).p == 0
