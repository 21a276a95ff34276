"""Keys of mergekit's recipes: which are carried out, and which are refused.

The table of docs/merging.md is made of them; a test compares them with the schema of mergekit where it is installed.
"""

from collections.abc import Collection, Mapping
from typing import Any

from mu_lightning.utilities.errors import UserError, shown, unknown

# Key -> what becomes of it. A key that is refused is refused by its name.
CARRIED_OUT: Mapping[str, str] = {
    "merge_method": "the method of that name",
    "models": "the sources; of a model that is named twice, the weights are added for `linear`",
    "models[].model": "folder, hub id, `id@revision`, or a mapping with `path` and `revision`",
    "models[].parameters": "weights and parameters by model",
    "base_model": "the base model, in the same forms",
    "parameters": "parameters for all models",
    "parameters[].value": "a number or a word",
    "parameters[].filter": "tensors with this text in their names, as overrides",
    "dtype": "dtype of the result (computed in float32)",
    "out_dtype": "dtype of the result",
    "tokenizer_source": "`union`, `base` or a model of the recipe: all sources have the same tokenizer",
    "tokenizer.source": "as `tokenizer_source`",
    "name": "no effect: a name for people",
    "parameters.int8_mask": "no effect on the result: masks are not stored",
}
REFUSED: Mapping[str, str] = {
    "slices": "only whole models merge",
    "modules": "only whole models merge",
    "models[].model.lora": "fold the adapter into the model and save it as a folder first",
    "models[].model.override_architecture": "the architecture is that of the config",
    "tokenizer.tokens": "embeddings of tokens are merged as all others",
    "tokenizer.pad_to_multiple_of": "the vocabulary stays as it is",
    "chat_template": "classifiers have none",
    "parameters[].value (a list)": "gradients over layers: use filters",
}
# The keys of each mapping of a recipe.
_RECIPE = ("merge_method", "models", "base_model", "parameters", "dtype", "out_dtype", "name", "tokenizer_source")
RECIPE = (*_RECIPE, "tokenizer", "chat_template", "slices", "modules")
MODEL = ("model", "parameters")
REFERENCE = ("model", "lora", "override_architecture")
PATH = ("path", "revision")
TOKENIZER = ("source", "tokens", "pad_to_multiple_of")
FILTER = ("value", "filter")


def check_keys(what: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Raises UserError for a key that mergekit does not have."""
    for key in given:
        if key not in known:
            raise unknown(f"key of {what}", str(key), known)


def refused(key: str, given: Any = None) -> UserError:
    """The error for a key of `REFUSED`."""
    value = "" if given is None else f" ({shown(given)})"
    return UserError(f"mergekit's {key}{value} is not supported: {REFUSED[key]}")


def check_recipe_keys(content: Mapping[str, Any], models: Collection[str]) -> None:
    """Checks the keys of a recipe, except those of models and parameters.

    Args:
        content: the recipe.
        models: its sources and its base.

    Raises:
        UserError: an unknown key, or one of `REFUSED`.
    """
    check_keys("a mergekit recipe", content, RECIPE)
    for key in ("slices", "modules", "chat_template"):
        if content.get(key) is not None:
            raise refused(key, content[key])
    tokenizer = content.get("tokenizer")
    if tokenizer is not None:
        if not isinstance(tokenizer, Mapping):
            raise UserError(f"mergekit's tokenizer: expected a mapping, got {shown(tokenizer)}")
        check_keys("mergekit's tokenizer", tokenizer, TOKENIZER)
        for key in ("tokens", "pad_to_multiple_of"):
            if tokenizer.get(key):
                raise refused(f"tokenizer.{key}", tokenizer[key])
    for key, source in (
        ("tokenizer_source", content.get("tokenizer_source")),
        ("tokenizer.source", (tokenizer or {}).get("source")),
    ):
        if source is not None and source not in ("union", "base", *models):
            raise UserError(f"mergekit's {key} is {shown(source)}: expected union, base or a model of the recipe")


def markdown() -> str:
    """The table of docs/merging.md."""
    rows = [(f"`{key}`", "carried out", what) for key, what in CARRIED_OUT.items()]
    rows += [(f"`{key}`", "refused", what) for key, what in REFUSED.items()]
    return "\n".join(f"| {key} | {how} | {what} |" for key, how, what in rows)
