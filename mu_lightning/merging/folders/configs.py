"""Configs of models, compared by what loading makes of them rather than by what is written."""

from collections.abc import Mapping
from typing import Any

from mu_lightning.utilities.errors import UserError, shown

Config = Mapping[str, Any]
# Keys that do not affect the outputs of the model.
_INCIDENTAL = {
    "dtype",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "initializer_range",
    "finetuning_task",
    "task_specific_params",
    "problem_type",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "auto_map",
}
# Keys that earlier versions of transformers computed with, and the value that is all that later ones do.
_FORMER = {"position_embedding_type": "absolute"}


def check_same_config(first: str, expected: Config, other: str, found: Config) -> None:
    """Checks that two configs describe the same computation; labels are compared separately.

    A difference as they are written counts only if it is left when transformers has filled in its defaults and dropped
    what it does not know.

    Args:
        first: name of the one model in the error.
        expected: its config.
        other: name of the other model in the error.
        found: its config.

    Raises:
        UserError: the first difference; or a config that transformers refuses.
    """
    if _difference(expected, found) is None:
        return
    if "model_type" in expected and expected.get("model_type") == found.get("model_type"):
        expected, found = _completed(first, expected), _completed(other, found)
    key = _difference(expected, found)
    if key is not None:
        raise UserError(
            f"the configs differ: {key} is {shown(expected.get(key))} in {first} and {shown(found.get(key))} in {other}"
        )


def _difference(expected: Config, found: Config) -> str | None:
    for key in sorted({*expected, *found}):
        if not _matters(key) or expected.get(key) == found.get(key):
            continue
        if key == "architectures" and not (expected.get(key) and found.get(key)):
            continue  # one does not say
        return key
    return None


def _matters(key: str) -> bool:
    """Whether a key affects the outputs of the model."""
    return (
        key not in _INCIDENTAL
        and key not in ("id2label", "label2id")
        and not key.startswith(("_", "mu_"))
        and "dropout" not in key
    )


def _completed(name: str, config: Config) -> dict[str, Any]:
    """A config with transformers' defaults, without the keys that its class does not know."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = config["model_type"]
    if kind not in CONFIG_MAPPING:
        return dict(config)
    config_class = CONFIG_MAPPING[kind]
    try:
        full = config_class.from_dict(dict(config)).to_dict()
    except Exception as error:  # validation errors of several families
        reason = " ".join(str(error).split())
        raise UserError(f"the config of {name} is not one of the architecture {kind}: {reason}") from error
    known = {*config_class().to_dict(), "quantization_config"}
    former = {key: config[key] for key, value in _FORMER.items() if config.get(key, value) != value}
    return {key: value for key, value in full.items() if key in known} | former
