"""Members with a vocabulary subset learn, merge and score as members with the full vocabulary."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.checkpoints import load_base
from mu_lightning.data.module import IntentDataModule
from mu_lightning.data.vocabulary import used_vocabulary
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.merging.registry import METHODS
from mu_lightning.models.adapters import adapted_members
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.joint import JointClassifier
from mu_lightning.models.vocabulary_subset import select_vocabulary
from mu_lightning.schedules.schedules import EveryEpochs
from mu_lightning.settings import LoraSettings, MergeSettings, ModelSettings
from mu_lightning.utilities.errors import UserError

MEMBERS = ("en-US", "de-DE", "nl-NL")
TABLE = "roberta.embeddings.word_embeddings.weight"
SETTINGS = ModelSettings(learning_rate=1e-3, warmup=0.2, weight_decay=0.1)


class Run(NamedTuple):
    """What a run leaves: the members as they are exported, its merges, and itself."""

    states: dict[str, dict[str, Tensor]]
    merges: MergeCallback
    module: JointClassifier
    data: IntentDataModule
    kept: Tensor
    base: Tensor


@pytest.fixture
def run(corpus: Any, data_module: Any, trainer: Any, dropout_base: Path) -> Callable[..., Run]:
    """Trains and merges members of the first rows of three locales: ``run(how, method, names)``.

    `how` is ``used``, ``full``, or ``all``: the whole table, and no row of it left alone.
    """

    def go(
        how: str, method: str = "linear", names: Any = MEMBERS, adapter: Any = None, epochs: int = 2, **arguments: Any
    ) -> Run:
        plain = data_module(names)
        read = [plain.encoded(tag, split).tokens for tag in MEMBERS for split in ("train", "dev", "test")]
        read += [plain.encoded("af-ZA", split).tokens for split in ("dev", "test")]
        model = load_base(dropout_base, corpus.label_names, 0)
        whole = model.get_input_embeddings().weight.detach().clone()
        vocabulary = used_vocabulary(read, plain.tokenizer, len(whole), 1)
        assert 100 < len(vocabulary) < len(whole)
        words = None if how == "all" else select_vocabulary(model, vocabulary, trimmed=how == "used")
        if adapter:
            settings = LoraSettings(r=2, alpha=4, dropout=0.1)
            members: Any = adapted_members(model, names, settings, 0, adapter, words)
        else:
            members = {name: IntentClassifier(copy.deepcopy(model), words) for name in names}
        module = JointClassifier(members, SETTINGS, seed=0)
        data = data_module(names)
        data.vocabulary = vocabulary if how == "used" else None
        weights = dict(zip(names, {1: [1.0], 2: [0.6, 0.4], 3: [0.5, 0.3, 0.2]}[len(names)], strict=True))
        merges = MergeCallback("af-ZA", weights, EveryEpochs(1), MergeSettings(method=method, sync="pull"), seed=0)
        if adapter == "folded":
            merges.settings = MergeSettings(method=method)
        trainer(epochs, merges, limit_val_batches=1.0, **arguments).fit(module, datamodule=data)
        states = {name: module.member(name).plain().model.state_dict() for name in names}
        return Run(states, merges, module, data, torch.from_numpy(vocabulary.kept.astype("int64")), whole)

    return go


def assert_near(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=0, atol=tolerance, msg=lambda text, name=name: name + text)


def others(run: Run) -> Tensor:
    """The numbers of the rows that the run leaves alone."""
    return torch.tensor(sorted(set(range(len(run.base))) - set(run.kept.tolist())))


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.needs_statistics])
def test_training_with_merges_by_every_method_gives_the_same_weights_and_scores(
    run: Callable[..., Run], method: str
) -> None:
    names = MEMBERS[: METHODS[method].max_sources]
    used, full = (run(how, method, names, gradient_clip_val=0.05) for how in ("used", "full"))
    for name in names:
        assert_near(used.states[name], full.states[name], 1e-5)
        assert used.module.member(name).model.state_dict()[TABLE].shape == (len(used.kept), 32)
        for one in (used, full):
            assert torch.equal(one.states[name][TABLE][others(one)], one.base[others(one)])
            assert not torch.equal(one.states[name][TABLE], one.base)
    scores = [
        [found["target"], found["members"], pytest.approx(found["drift"], abs=1e-5)] for found in used.merges.epochs
    ]
    assert scores == [[found["target"], found["members"], found["drift"]] for found in full.merges.epochs]
    after = [[record["targets"]["af-ZA"]["after"] for record in one.merges.history] for one in (used, full)]
    assert after[0] == after[1]


def test_without_merges_and_clipping_used_rows_are_to_the_bit_what_adamw_makes_of_the_whole_table(
    run: Callable[..., Run],
) -> None:
    used, full, everything = (run(how, names=["en-US"], epochs=1) for how in ("used", "full", "all"))
    kept, rest = used.kept, others(used)
    for state in (full.states["en-US"], everything.states["en-US"]):
        for name, tensor in used.states["en-US"].items():
            if name == TABLE:
                assert torch.equal(tensor[kept], state[name][kept])
            else:
                assert torch.equal(tensor, state[name]), name
    decayed = everything.states["en-US"][TABLE][rest]
    assert not torch.equal(decayed, everything.base[rest]), "only where nothing is left alone all rows decay"


def test_logits_and_scores_of_the_whole_model_are_those_of_the_trimmed_one(run: Callable[..., Run]) -> None:
    used = run("used", epochs=1)
    member = used.module.member("en-US")
    whole, data = member.plain(), IntentDataModule(used.data.corpus, used.data.tokenizer, used.data.settings)
    tags = ["af-ZA", "de-DE"]
    for tag in tags:
        pairs = zip(*(one.eval_loaders("test", [tag])[tag] for one in (used.data, data)), strict=True)
        member.eval(), whole.eval()
        with torch.no_grad():
            for numbered, plain in pairs:
                assert torch.equal(used.kept[numbered["input_ids"]], plain["input_ids"])
                assert torch.equal(member(numbered), whole(plain))
    found, expected = (
        evaluate(member, used.data.eval_loaders("test", tags)),
        evaluate(whole, data.eval_loaders("test", tags)),
    )
    assert {tag: scores.accuracy for tag, scores in found.items()} == {
        tag: scores.accuracy for tag, scores in expected.items()
    }


@pytest.mark.parametrize("acting_on", ["adapters", "folded"])
def test_members_with_adapters_share_a_base_with_the_used_rows(run: Callable[..., Run], acting_on: str) -> None:
    used, full = (run(how, adapter=acting_on) for how in ("used", "full"))
    for name in MEMBERS:
        assert_near(used.states[name], full.states[name], 1e-5)
        assert torch.equal(used.states[name][TABLE][others(used)], used.base[others(used)])
    held = {p.data_ptr(): p.shape for p in used.module.parameters() if p.shape[-1] == 32 and len(p) > 100}
    assert list(held.values()) == [(len(used.kept), 32)]
    state = used.merges.merged
    assert state is not None
    merged = used.module.member("en-US").with_merged(state).plain().model.state_dict()
    assert merged[TABLE].shape == used.base.shape


def test_a_run_goes_on_from_a_checkpoint_of_the_same_subset_only(
    run: Callable[..., Run], trainer: Any, tmp_path: Path
) -> None:
    used = run("used", names=["en-US"], epochs=1)
    used.module.trainer.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert torch.equal(saved["vocabulary"].long(), used.kept)
    trainer(2).fit(used.module, datamodule=used.data, ckpt_path=tmp_path / "one.ckpt", weights_only=True)
    saved["vocabulary"][-2] -= 1
    torch.save(saved, tmp_path / "other.ckpt")
    with pytest.raises(UserError, match="was trained on other texts"):
        trainer(2).fit(used.module, datamodule=used.data, ckpt_path=tmp_path / "other.ckpt", weights_only=True)
