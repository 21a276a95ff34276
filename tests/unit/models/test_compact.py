"""The compact encoder: transformers' logits and gradients, from rows without padding; dropout from its own seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mu_lightning.checkpoints import load_base
from mu_lightning.data.encoding import Batch
from mu_lightning.models.attention import Dropout
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.compact import TOKEN_STEP, CompactEncoder, lay_out
from mu_lightning.models.stacked import first_states

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


def gradients(member: IntentClassifier, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The gradient of each parameter, for a loss that weighs rows differently."""
    member.zero_grad()
    losses = cross_entropy(logits, batch["labels"], reduction="none")
    (losses * torch.arange(1, len(losses) + 1)).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in member.named_parameters() if parameter.grad is not None}


def compact_logits(member: IntentClassifier, batch: Batch, seed: int = 0) -> Tensor:
    (first,) = first_states([member.model], [batch], [seed])
    return member.head(first)


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
    logits = compact_logits(member, batch)
    found = gradients(member, logits, batch)
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


def test_a_row_has_the_same_state_alone_and_beside_longer_ones(classifier: Make) -> None:
    member, batch = classifier(), batch_of(3, 24, 9)
    (together,) = first_states([member.model], [batch], [0])
    for row, length in enumerate((3, 24, 9)):
        alone = Batch({**batch, "input_ids": batch["input_ids"][row : row + 1, :length]})
        alone["attention_mask"] = torch.ones_like(alone["input_ids"])
        (own,) = first_states([member.model], [alone], [0])
        torch.testing.assert_close(together[row : row + 1], own, atol=1e-5, rtol=0)


def test_rows_lie_end_to_end_and_positions_begin_after_the_padding_id(classifier: Make) -> None:
    batch = batch_of(5, 2, 5)
    rows = lay_out(batch, PADDING)
    ids = batch["input_ids"]
    assert rows.groups == [(1, 2), (2, 5)]
    assert rows.order.tolist() == [1, 0, 2]
    assert rows.first.tolist() == [0, 2, 7]
    expected = [*ids[1, :2].tolist(), *ids[0, :5].tolist(), *ids[2, :5].tolist()]
    assert rows.tokens.tolist() == [*expected, *[PADDING] * (TOKEN_STEP - 12)]
    embeddings: Any = classifier().model.roberta.embeddings
    places = embeddings.create_position_ids_from_input_ids(ids, PADDING)
    assert rows.places.tolist()[:12] == [*places[1, :2].tolist(), *places[0, :5].tolist(), *places[2, :5].tolist()]


def test_dropout_follows_from_its_seed_and_from_nothing_else(classifier: Make) -> None:
    member, batch = classifier(dropout=True), batch_of(3, 9, 24)
    (one,) = first_states([member.model], [batch], [5])
    torch.rand(3)
    (same,) = first_states([member.model], [batch], [5])
    (other,) = first_states([member.model], [batch], [6])
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])
    member.eval()
    plain = CompactEncoder(member.model, batch, 5).forward()
    expected: Any = member.model.roberta(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    torch.testing.assert_close(plain, expected.last_hidden_state[:, 0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "kinds", [("hidden_dropout_prob",), ("attention_probs_dropout_prob",)], ids=["hidden", "attention"]
)
def test_gradients_under_dropout_are_those_of_the_function_that_the_seed_chooses(
    classifier: Make, kinds: tuple[str, ...]
) -> None:
    """Against differences of the loss along each parameter's gradient; the seed makes it one smooth function."""
    member, batch = classifier(dropout=True), batch_of(3, 9, 9, 24, 24)
    config: Any = member.model.config
    for name in {"hidden_dropout_prob", "attention_probs_dropout_prob"} - set(kinds):
        setattr(config, name, 0.0)
    direction = torch.randn(len(batch["labels"]), config.hidden_size, generator=torch.Generator().manual_seed(1))

    def value() -> Tensor:
        (first,) = first_states([member.model], [batch], [3])
        return (first * direction).sum()

    member.zero_grad()
    value().backward()
    parameters, compared = CompactEncoder(member.model, batch, 3).parameters(), 0
    for parameter in parameters:
        assert parameter.grad is not None
        norm = float(parameter.grad.norm())
        if norm < 1e-2:  # the bias of keys has no effect
            continue
        step = parameter.grad / norm * 1e-2
        with torch.no_grad():
            parameter.add_(step)
            above = value().double()
            parameter.sub_(2 * step)
            below = value().double()
            parameter.add_(step)
        assert float(above - below) / 2e-2 == pytest.approx(norm, rel=2e-2)
        compared += 1
    assert compared >= len(parameters) - 2


def test_in_bfloat16_it_is_as_near_to_float32_as_transformers_is(classifier: Make) -> None:
    member, batch = classifier(), batch_of(9, 3, 24, 3, 9, 5, 3)
    exact = gradients(member, member(batch), batch)
    with torch.autocast("cpu", torch.bfloat16):
        plain, compact = member(batch), compact_logits(member, batch)
    theirs, ours = gradients(member, plain, batch), gradients(member, compact, batch)
    assert {gradient.dtype for gradient in ours.values()} == {torch.float32}
    assert compact.dtype == torch.float32

    def error(found: dict[str, Tensor]) -> float:
        difference = sum(float((found[name] - exact[name]).norm()) ** 2 for name in exact)
        return (difference / sum(float(exact[name].norm()) ** 2 for name in exact)) ** 0.5

    assert 1e-4 < error(ours) < 1.5 * error(theirs) < 0.2


def test_factors_drop_the_share_they_should_and_keep_the_mean() -> None:
    factors = Dropout(0.25, torch.Generator().manual_seed(0)).factors(torch.empty(400, 500))
    assert factors.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert float((factors == 0).float().mean()) == pytest.approx(0.25, abs=5e-3)
    assert Dropout(0.25, None).p == 0
