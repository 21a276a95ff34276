"""Models of mergekit's recipes: paths, hub ids, revisions."""

from collections.abc import Mapping
from typing import Any

from mu_lightning.merging.recipes.mergekit_keys import PATH, REFERENCE, check_keys, refused
from mu_lightning.utilities.errors import UserError, shown
from mu_lightning.utilities.resources import resource


def model_of(given: Any) -> str:
    """Reads a model: ``path``, ``id@revision``, or mergekit's mappings of them.

    A path that exists is a path, whatever signs are in it.

    Returns:
        A path, a hub id, or ``id@revision``; see `local_folder`.

    Raises:
        UserError: not a model, or a LoRA adapter on one.
    """
    if isinstance(given, str):
        if given and not resource(given).is_dir() and "+" in given:
            raise refused("models[].model.lora", given)
        return _path(given)
    if not isinstance(given, Mapping):
        raise UserError(f"a model of a mergekit recipe needs a path or hub id, got {shown(given)}")
    if "path" in given:
        return _path(given)
    check_keys("a model of a mergekit recipe", given, REFERENCE)
    for key in ("lora", "override_architecture"):
        if given.get(key) is not None:
            raise refused(f"models[].model.{key}", given[key])
    return _path(given.get("model"))


def _path(given: Any) -> str:
    if isinstance(given, Mapping):
        check_keys("a model's path in a mergekit recipe", given, PATH)
        path, revision = given.get("path"), given.get("revision")
        if isinstance(path, str) and path and (revision is None or isinstance(revision, str | int)):
            return path if revision is None else f"{path}@{revision}"
    elif isinstance(given, str) and given:
        return given
    raise UserError(f"a model of a mergekit recipe needs a path or hub id, got {shown(given)}")
