"""LoRA adapters: one base for all members, merges of adapters or of folded weights, exports that are ordinary."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.checkpoints import load_base
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.registry import METHODS
from mu_lightning.models.adapters import adapted_members
from mu_lightning.models.joint import JointClassifier
from mu_lightning.schedules.schedules import EveryEpochs
from mu_lightning.settings import LoraSettings, MergeSettings, ModelSettings
from mu_lightning.utilities.errors import UserError

MEMBERS = ("en-US", "de-DE", "nl-NL")
WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}

Make = Callable[..., JointClassifier]


@pytest.fixture(scope="module")
def adapted(corpus: Any, tiny_base: Path) -> Make:
    """Makes members with adapters: ``adapted(acting_on="adapters", names=MEMBERS, members_in_memory=0, **lora)``."""

    def make(acting_on: Any = "adapters", names: Any = MEMBERS, members_in_memory: int = 0, **lora: Any) -> Any:
        base = load_base(tiny_base, corpus.label_names, 0)
        members = adapted_members(base, names, LoraSettings(**{"r": 2, "alpha": 4, **lora}), 0, acting_on)
        settings = ModelSettings(learning_rate=1e-2, adapter="lora", members_in_memory=members_in_memory)
        return JointClassifier(members, settings, seed=0)

    return make


@pytest.fixture(scope="module")
def trained(adapted: Make, data_module: Any) -> Callable[[Any], JointClassifier]:
    """Members that have moved away from each other and from the start, without training."""

    def make(acting_on: Any) -> JointClassifier:
        module = adapted(acting_on)
        for place, name in enumerate(MEMBERS):
            generator = torch.Generator().manual_seed(place)
            for parameter in module.member(name).parameters():
                if parameter.requires_grad:
                    parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        return module

    return make


def storage(module: torch.nn.Module) -> int:
    """Elements that a module holds, each tensor counted once."""
    return sum({p.untyped_storage().data_ptr(): p.numel() for p in module.parameters()}.values())


def test_members_cost_one_base_and_an_adapter_and_a_head_each(adapted: Make) -> None:
    one, two, three = (adapted(names=MEMBERS[:count]) for count in (1, 2, 3))
    own = sum(p.numel() for p in one.member("en-US").parameters() if p.requires_grad)
    assert storage(three) - storage(two) == storage(two) - storage(one) == own
    rank, width, layers = 2, 32, 2
    head = sum(p.numel() for n, p in one.member("en-US").named_parameters() if "modules_to_save" in n)
    assert own == head + layers * 2 * 2 * rank * width


def test_members_start_equal_and_train_adapters_and_head_alone(adapted: Make, data_module: Any, trainer: Any) -> None:
    module = adapted()
    frozen = {name: p.clone() for name, p in module.named_parameters() if not p.requires_grad}
    start = {name: {k: v.clone() for k, v in module.member(name).merge_state().items()} for name in MEMBERS}
    for name in MEMBERS:
        assert all(torch.equal(start[name][key], value) for key, value in start["en-US"].items())
    trainer(1).fit(module, datamodule=data_module(MEMBERS))
    now = dict(module.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in frozen.items())
    changed = {
        key
        for key, value in module.member("en-US").merge_state().items()
        if not torch.equal(value, start["en-US"][key])
    }
    assert changed == set(start["en-US"])
    ends = [module.member(name).merge_state()["base_model.model.classifier.out_proj.weight"] for name in MEMBERS]
    assert not torch.equal(ends[0], ends[1])


@pytest.mark.parametrize("at_once", [1, 2])
def test_members_learn_side_by_side_and_in_turns_what_each_learns_alone(
    adapted: Make, data_module: Any, trainer: Any, at_once: int
) -> None:
    def learned(names: Any, members_in_memory: int = 0) -> dict[str, dict[str, Tensor]]:
        module = adapted(names=names, members_in_memory=members_in_memory, dropout=0.3)
        trainer(2).fit(module, datamodule=data_module(names))
        return {name: module.member(name).merge_state() for name in names}

    together, turns = learned(MEMBERS), learned(MEMBERS, at_once)
    for name in MEMBERS:
        for other in (turns[name], learned([name])[name]):
            assert all(torch.equal(other[key], value) for key, value in together[name].items())


def test_an_export_is_an_ordinary_model_that_answers_as_the_member_does(
    trained: Any, data_module: Any, tmp_path: Path
) -> None:
    member = trained("adapters").member("de-DE")
    plain = member.plain()
    assert type(plain.model).__name__ == "XLMRobertaForSequenceClassification"
    batch = next(iter(data_module(MEMBERS).eval_loaders("dev")["de-DE"]))
    torch.testing.assert_close(plain.eval()(batch), member.eval()(batch), atol=1e-5, rtol=1e-5)
    member.save_adapter(tmp_path / "adapter")
    from peft import PeftModel

    base = member.model.unload()
    again = PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    logits = again(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(logits, plain(batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("acting_on", ["adapters", "folded"])
@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.needs_statistics])
def test_every_method_merges_adapters_and_folded_weights(
    trained: Any, adapted: Make, data_module: Any, method: str, acting_on: str
) -> None:
    module, start = trained(acting_on), adapted(acting_on).member("en-US").merge_state()
    most = METHODS[method].max_sources or len(MEMBERS)
    names = MEMBERS[:most]
    states = {name: module.member(name).merge_state() for name in names}
    merged = merge_tensors(method, states, {name: 1 / len(names) for name in names}, base=start)
    first = module.member("en-US")
    candidate = first.with_merged(merged)
    assert type(candidate.model).__name__ == "XLMRobertaForSequenceClassification"
    for name in names:
        module.member(name).take(merged)
    loaders = data_module(MEMBERS).eval_loaders("dev", ["nl-NL"])
    answers = [evaluate(module.member(name), loaders)["nl-NL"].predictions.tolist() for name in names]
    assert answers == [evaluate(candidate, loaders)["nl-NL"].predictions.tolist()] * len(names)


def test_folded_weights_are_those_of_the_ordinary_model_and_a_merge_of_them_is_exact(trained: Any) -> None:
    module = trained("folded")
    states = {name: module.member(name).merge_state() for name in MEMBERS}
    for name in MEMBERS:
        plain = module.member(name).plain().model.state_dict()
        assert list(plain) == list(states[name])
        for key, value in plain.items():
            torch.testing.assert_close(states[name][key], value)
    merged = merge_tensors("linear", states, WEIGHTS)
    for name in MEMBERS:
        module.member(name).take(merged)
        after = module.member(name).merge_state()
        assert all(torch.equal(after[key], value) for key, value in merged.items())
    base = [p for p in module.member("en-US").parameters() if not p.requires_grad]
    assert all(
        p is q
        for p, q in zip(base, [p for p in module.member("nl-NL").parameters() if not p.requires_grad], strict=True)
    )


@pytest.mark.parametrize("acting_on", ["adapters", "folded"])
def test_members_are_merged_while_they_train(adapted: Make, data_module: Any, trainer: Any, acting_on: str) -> None:
    module = adapted(acting_on)
    merges = MergeCallback("af-ZA", WEIGHTS, EveryEpochs(1), MergeSettings(adapter=acting_on))
    trainer(2, merges).fit(module, datamodule=data_module(MEMBERS))
    assert [record["committed"] for record in merges.history] == [True, True]
    for name in MEMBERS:
        state = module.member(name).merge_state()
        assert all(torch.equal(state[key], value) for key, value in merges.merged.items())
    final = module.member("en-US").with_merged(merges.merged)
    found = evaluate(final, data_module(MEMBERS).eval_loaders("dev", ["af-ZA"]))["af-ZA"].accuracy
    assert found == merges.history[-1]["targets"]["af-ZA"]["after"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"target_modules": ["nowhere"]}, "a base of type xlm-roberta: No modules were targeted for adaptation"),
        ({"r": 100_000}, "model.lora.r is 100000: expected a rank of at most"),
        ({"r": 0}, "model.lora.r is 0: expected a number at least 1"),
        ({"dropout": 1.5}, r"model.lora.dropout is 1\.5: expected a number at least 0 and below 1"),
    ],
)
def test_adapters_that_cannot_be_made_are_refused(adapted: Make, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        adapted(**wrong)


def test_other_modules_may_be_adapted(adapted: Make) -> None:
    state = adapted(target_modules=["key"]).member("en-US").merge_state()
    assert {name.split(".")[-3] for name in state if "lora_A" in name} == {"key"}
