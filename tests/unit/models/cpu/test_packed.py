"""The packed forward pass gives what transformers gives, and stands aside where it cannot."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from mu_lightning.checkpoints import load_base
from mu_lightning.evaluation.loop import evaluate, packed
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.cpu.packed import PackedClassifier, can_pack

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is without oneDNN")

SIZE: dict[str, Any] = {"vocab_size": 90, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
SIZE |= {"intermediate_size": 80, "max_position_embeddings": 40, "num_labels": 7, "initializer_range": 0.3}


@pytest.fixture
def classifier(corpus: Any, dropout_base: Path) -> IntentClassifier:
    return IntentClassifier(load_base(dropout_base, corpus.label_names, 0))


def random_model(kind: Any = XLMRobertaForSequenceClassification, **changes: Any) -> Any:
    """A model of random weights: biases, norms and the padding's embedding too, so that all of them count."""
    config = {XLMRobertaForSequenceClassification: XLMRobertaConfig, RobertaForSequenceClassification: RobertaConfig}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = kind(config.get(kind, BertConfig)(**(SIZE | changes))).eval()
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def random_batch(lengths: list[int]) -> Any:
    """Rows of the given lengths, padded on the right."""
    ids = torch.randint(3, 90, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(5))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return {"input_ids": torch.where(mask, ids, 1), "attention_mask": mask.long()}


@pytest.mark.parametrize("kind", [XLMRobertaForSequenceClassification, RobertaForSequenceClassification])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("lengths", [[9] * 5, [1], [37] * 2, [3, 12, 5]], ids=str)
def test_logits_are_those_of_transformers(kind: Any, layers: int, lengths: list[int]) -> None:
    model, batch = random_model(kind, num_hidden_layers=layers), random_batch(lengths)
    assert can_pack(model)
    with torch.inference_mode():
        found = PackedClassifier(model)(batch)
        expected = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1, "the logits hardly differ, so nothing was compared"


def test_evaluating_gives_the_predictions_of_the_plain_forward_pass(
    classifier: IntentClassifier, data_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaders = data_module().eval_loaders("test", ["en-US", "de-DE"])
    fast = evaluate(classifier, loaders)
    calls = []
    monkeypatch.setattr(classifier.model, "forward", lambda *args, **named: calls.append(1))
    assert {locale: found.predictions.tolist() for locale, found in evaluate(classifier, loaders).items()} == {
        locale: found.predictions.tolist() for locale, found in fast.items()
    }
    assert calls == [], "the plain forward pass was run"
    monkeypatch.undo()
    classifier.eval()
    for locale, loader in loaders.items():
        for batch in loader:
            with torch.inference_mode():
                plain = classifier.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            assert fast[locale].predictions[batch["index"].numpy()].tolist() == plain.argmax(-1).tolist()


def test_each_evaluation_sees_the_weights_of_its_time(classifier: IntentClassifier, data_module: Any) -> None:
    loaders = data_module().eval_loaders("test", ["en-US"])
    before = evaluate(classifier, loaders)["en-US"].predictions
    with torch.no_grad():
        classifier.model.roberta.encoder.layer[0].intermediate.dense.weight.neg_()
    assert (evaluate(classifier, loaders)["en-US"].predictions != before).any()


def test_training_never_sees_packed_weights(classifier: IntentClassifier, data_module: Any) -> None:
    batch = next(iter(data_module().eval_loaders("test", ["en-US"])["en-US"]))
    with packed(classifier):
        assert classifier.train()(batch).requires_grad
        assert classifier._packed is not None
    assert classifier._packed is None


def test_a_block_in_a_block_packs_nothing_anew_and_ends_nothing(classifier: IntentClassifier) -> None:
    with packed(classifier):
        outer = classifier._packed
        with packed(classifier):
            assert classifier._packed is outer
        assert classifier._packed is outer
    assert classifier._packed is None


def test_lower_precision_is_left_to_the_plain_forward_pass(classifier: IntentClassifier, data_module: Any) -> None:
    batch = next(iter(data_module().eval_loaders("test", ["en-US"])["en-US"]))
    classifier.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = classifier(batch)
        with packed(classifier):
            assert torch.equal(classifier(batch), expected)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(random_model().to(torch.bfloat16), id="bfloat16"),
        pytest.param(random_model().to("meta"), id="another device"),
        pytest.param(random_model(hidden_act="relu"), id="another activation"),
        pytest.param(random_model(chunk_size_feed_forward=2), id="chunks"),
        pytest.param(random_model(BertForSequenceClassification), id="another architecture"),
    ],
)
def test_what_it_does_not_compute_it_does_not_pack(model: Any) -> None:
    assert not can_pack(model)


def test_a_model_with_a_hook_is_not_packed() -> None:
    model = random_model()
    model.roberta.encoder.layer[0].output.dense.register_forward_hook(lambda *_: None)
    assert not can_pack(model)
