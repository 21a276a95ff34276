"""Members move to a device and back as the same objects, with what the optimizer keeps of them."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.optim.offload import OFFLOADED, move_member

MEMBERS = ("en-US", "de-DE", "nl-NL")
# Tensors are moved to and from this device as if it were another one; its name in a tensor is plain "cpu".
ELSEWHERE = torch.device("cpu:0")


def trained() -> tuple[nn.Linear, AdamW]:
    layer = nn.Linear(3, 2)
    layer.bias.requires_grad_(False)
    optimizer = AdamW([layer.weight], fused=True)
    layer(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    return layer, optimizer


def test_weights_and_moments_are_copied_and_the_parameter_stays_the_object_that_it_is() -> None:
    layer, optimizer = trained()
    weight, bias = layer.weight, layer.bias
    before, moments = weight.detach().clone(), {k: v.clone() for k, v in optimizer.state[weight].items()}
    at = (weight.data_ptr(), bias.data_ptr(), optimizer.state[weight]["exp_avg"].data_ptr())
    move_member(layer, ELSEWHERE, [optimizer])
    assert layer.weight is weight
    assert weight.data_ptr() != at[0]
    assert bias.data_ptr() == at[1], "what is frozen may be shared and stays"
    assert optimizer.state[weight]["exp_avg"].data_ptr() != at[2]
    assert torch.equal(weight, before)
    assert all(torch.equal(optimizer.state[weight][name], value) for name, value in moments.items())
    assert weight.grad is None


def test_a_member_that_rests_answers_as_it_does_on_its_device(joint: Any, data_module: Any) -> None:
    member, data = joint(["en-US"]).member("en-US"), data_module(["en-US"])
    loaders = data.eval_loaders("dev")
    expected = evaluate(member, loaders)["en-US"].predictions
    member.device_marker = torch.empty(0, device="meta")  # as if it belonged elsewhere: its weights must be taken there
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        member(next(iter(loaders["en-US"])))
    member.device_marker = torch.empty(0)
    assert evaluate(member, loaders)["en-US"].predictions.tolist() == expected.tolist()


def test_the_module_goes_to_a_device_without_the_weights_of_members_that_wait(joint: Any) -> None:
    def moved(at_once: int) -> tuple[set[bool], set[bool]]:
        """Whether the parameters and the buffers of the model were copied to the device."""
        module = joint(MEMBERS, members_in_memory=at_once)
        before = {id(tensor): tensor.data_ptr() for tensor in (*module.parameters(), *module.buffers())}
        parameters = list(module.parameters())
        buffers = {id(buffer): name for name, buffer in module.named_buffers() if buffer.numel()}
        module.to(ELSEWHERE)
        assert [id(parameter) for parameter in module.parameters()] == [id(parameter) for parameter in parameters]
        now = {name: tensor.data_ptr() for name, tensor in module.named_buffers()}
        return (
            {before[id(parameter)] != parameter.data_ptr() for parameter in parameters},
            {before[key] != now[name] for key, name in buffers.items()},
        )

    assert moved(1) == ({False}, {True})
    assert moved(0) == moved(3) == ({True}, {True})


def test_at_any_time_only_the_members_whose_turn_it_is_are_on_the_device(
    joint: Any, data_module: Any, trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mu_lightning.models import joint as module_of_joint

    seen: list[tuple[str, ...]] = []
    moved: dict[int, str] = {}

    def noting(member: Any, device: torch.device, optimizers: Any) -> None:
        moved[id(member)] = "off" if device is OFFLOADED else "on"
        move_member(member, device, optimizers)

    monkeypatch.setattr(module_of_joint, "move_member", noting)
    module = joint(MEMBERS, members_in_memory=2)

    class Watch(module_of_joint.JointClassifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(tuple(name for name in MEMBERS if moved[id(self.member(name))] == "on"))
            return super().training_step(batch, batch_idx)

    module.__class__ = Watch
    trainer(2, limit_val_batches=1.0).fit(module, datamodule=data_module(MEMBERS))
    assert seen == ([("en-US", "de-DE")] * 8 + [("nl-NL",)] * 3) * 2
    assert set(moved.values()) == {"off"}, "scores and merges find all members at rest"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_members_in_turns_learn_the_same_and_need_less_memory(
    joint: Any, data_module: Any, trainer: Any
) -> None:
    def run(at_once: int) -> tuple[Any, int]:
        torch.cuda.reset_peak_memory_stats()
        module = joint(MEMBERS, members_in_memory=at_once)
        trainer(2, limit_val_batches=1.0, accelerator="gpu").fit(module, datamodule=data_module(MEMBERS))
        return module, torch.cuda.max_memory_allocated()

    (together, peak), (turns, smaller) = run(0), run(1)
    for name in MEMBERS:
        one, other = together.member(name).merge_state(), turns.member(name).merge_state()
        assert all(torch.equal(one[key].cpu(), other[key].cpu()) for key in one)
    assert smaller < peak
