"""The one interface of the CPU's fast paths: it chooses, and both paths give the same."""

from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.cpu import LoopedMembers, PlainClassifier, can_stack, scoring_pass, training_pass
from mu_lightning.models.cpu.packed import PackedClassifier
from mu_lightning.models.cpu.stacked import StackedMembers
from mu_lightning.models.joint import JointClassifier
from mu_lightning.settings import ModelSettings

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is without oneDNN")

CPU = torch.device("cpu")
MEMBERS = ["en-US", "nl-NL"]


@pytest.fixture
def module(joint: Any) -> JointClassifier:
    made: JointClassifier = joint(MEMBERS)
    return made


@pytest.fixture
def batch(data_module: Any) -> Any:
    return next(iter(data_module(MEMBERS).train_dataloader()))


def test_a_model_is_scored_fast_and_gives_the_logits_of_the_plain_path(module: JointClassifier, batch: Any) -> None:
    model = module.member("en-US").eval().model
    fast, plain = scoring_pass(model, CPU), PlainClassifier(model, CPU)
    assert isinstance(fast, PackedClassifier)
    with torch.inference_mode():
        expected = plain(batch["en-US"])
        torch.testing.assert_close(fast(batch["en-US"]), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 1e-3, "the logits hardly differ, so nothing was compared"


def test_what_is_not_supported_takes_the_plain_path(module: JointClassifier) -> None:
    model = module.member("en-US").model
    assert isinstance(scoring_pass(model, torch.device("cuda")), PlainClassifier)
    model.roberta.register_forward_hook(lambda *_: None)
    assert isinstance(scoring_pass(model, CPU), PlainClassifier)


@pytest.mark.parametrize("execution", ["loop", "auto"])
def test_members_are_trained_on_the_path_that_the_settings_and_the_model_allow(
    module: JointClassifier, trainer: Any, execution: Any
) -> None:
    settings, members = ModelSettings(execution=execution), {name: module.member(name) for name in MEMBERS}
    chosen = training_pass(members, module.loop, settings, trainer(1))
    assert type(chosen) is (LoopedMembers if execution == "loop" else StackedMembers)
    assert chosen.stacked == can_stack(list(members.values()), settings, trainer(1))


def test_losses_and_gradients_of_both_training_paths_are_equal_within_rounding(
    module: JointClassifier, trainer: Any, batch: Any
) -> None:
    members: dict[str, IntentClassifier] = {name: module.member(name) for name in MEMBERS}
    losses, gradients = [], []
    for path in (module.loop, training_pass(members, module.loop, ModelSettings(), trainer(1))):
        module.train().zero_grad()
        found = path.losses(
            batch, dict.fromkeys(MEMBERS, 0), lambda name, logits, part: cross_entropy(logits, part["labels"])
        )
        torch.stack(list(found.values())).sum().backward()
        losses.append(found)
        gradients.append({name: one.grad for name, one in module.members.named_parameters()})
    assert list(losses[0]) == list(losses[1]) == list(batch)
    torch.testing.assert_close(losses[1], losses[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=1e-4)
