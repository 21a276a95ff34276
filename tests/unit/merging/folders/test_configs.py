"""Configs are compared by what loading makes of them."""

from typing import Any

import pytest

from mu_lightning.merging.folders.configs import check_same_config
from mu_lightning.utilities.errors import UserError

NOW: dict[str, Any] = {
    "model_type": "xlm-roberta",
    "architectures": ["XLMRobertaForSequenceClassification"],
    "hidden_size": 32,
    "add_cross_attention": False,
    "is_decoder": False,
    "tie_word_embeddings": True,
    "dtype": "float32",
    "transformers_version": "5.3.0",
}
OTHERWISE: dict[str, dict[str, Any]] = {
    "as transformers 4 wrote it": {
        "add_cross_attention": None,
        "is_decoder": None,
        "tie_word_embeddings": None,
        "dtype": None,
        "torch_dtype": "float32",
        "position_embedding_type": "absolute",
        "transformers_version": "4.44.2",
    },
    "with what a Trainer leaves": {"problem_type": "single_label_classification", "_name_or_path": "somewhere"},
    "with keys of somebody's own": {"my_run": 7, "gradient_checkpointing": True},
    "with its defaults written out": {"layer_norm_eps": 1e-12, "hidden_act": "gelu", "max_position_embeddings": 512},
    "with another dropout": {"hidden_dropout_prob": 0.3, "classifier_dropout": 0.2},
    "without its architecture": {"architectures": None},
}
DIFFERENT: dict[str, tuple[dict[str, Any], str]] = {
    "another activation": ({"hidden_act": "relu"}, "hidden_act is 'gelu' in a and 'relu' in b"),
    "another epsilon": ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-12 in a and 1e-05 in b"),
    "another padding": ({"pad_token_id": 0}, "pad_token_id is 1 in a and 0 in b"),
    "relative positions": ({"position_embedding_type": "relative_key"}, "position_embedding_type is None in a and"),
    "another architecture": ({"model_type": "bert"}, "model_type is 'xlm-roberta' in a and 'bert' in b"),
    "another head": ({"architectures": ["XLMRobertaForMaskedLM"]}, "architectures is"),
    "quantized weights": ({"quantization_config": {"bits": 4}}, "quantization_config is None in a"),
}


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**NOW, **changes}.items() if value is not None}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_does_the_same_is_the_same(what: str) -> None:
    check_same_config("a", NOW, "b", changed(OTHERWISE[what]))
    check_same_config("a", changed(OTHERWISE[what]), "b", NOW)


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_real_difference_is_named(what: str) -> None:
    changes, expected = DIFFERENT[what]
    with pytest.raises(UserError, match=f"the configs differ: {expected}"):
        check_same_config("a", NOW, "b", changed(changes))


def test_a_config_that_its_class_refuses_is_one_line() -> None:
    with pytest.raises(
        UserError, match=r"config of b is not one of the architecture xlm-roberta: .*hidden_size"
    ) as told:
        check_same_config("a", NOW, "b", changed({"hidden_size": "32"}))
    assert "\n" not in str(told.value)


def test_an_architecture_that_transformers_lacks_is_compared_as_it_is_written() -> None:
    check_same_config("a", {"model_type": "own", "x": 1}, "b", {"model_type": "own", "x": 1, "dtype": "float16"})
    with pytest.raises(UserError, match="x is 1 in a and 2 in b"):
        check_same_config("a", {"model_type": "own", "x": 1}, "b", {"model_type": "own", "x": 2})
