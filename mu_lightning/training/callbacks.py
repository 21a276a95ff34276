"""Callbacks of a run by class path, so that any process can build them."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol

from torch import Tensor

from mu_lightning.results.results import Supervision
from mu_lightning.utilities.errors import UserError, unknown

CLASS_PATHS: Mapping[str, str] = {
    "manifest": "mu_lightning.callbacks.manifest.Manifest",
    "merge": "mu_lightning.callbacks.merge.MergeCallback",
    "dashboard": "mu_lightning.callbacks.dashboard.Dashboard",
    "history": "mu_lightning.callbacks.history.History",
    "kept_merges": "mu_lightning.callbacks.kept_merges.KeptMerges",
    "member_stopping": "mu_lightning.callbacks.member_stopping.MemberStopping",
    "guard": "mu_lightning.callbacks.guard.Guard",
    "continued_logs": "mu_lightning.callbacks.logs.ContinuedLogs",
    "throughput": "mu_lightning.callbacks.throughput.Throughput",
    "progress": "mu_lightning.callbacks.progress.Progress",
    "checkpoint": "mu_lightning.callbacks.checkpoint.RunCheckpoint",
    "checkpoint_io": "mu_lightning.callbacks.checkpoint.DurableCheckpointIO",
}

# Optional callbacks: results and resuming do not depend on them.
OPTIONAL = ("manifest", "dashboard", "history", "kept_merges", "throughput", "progress")


class Merges(Protocol):
    """Interface of the callback ``merge``.

    Attributes:
        history: records of the merges.
        models: target -> state dict of the last committed merge.
    """

    history: list[dict[str, Any]]
    models: dict[str, dict[str, Tensor]]

    def supervision_of(self, target: str) -> Supervision:
        """Data of a target that decisions used."""


def build_callback(name: str, replaced: Mapping[str, str | None], *arguments: Any, **named: Any) -> Any:
    """Imports and builds a callback.

    Args:
        name: name in `CLASS_PATHS`.
        replaced: name -> class path of a replacement, or None to remove it; see `RunSettings.callbacks`.
        arguments: positional arguments.
        named: keyword arguments.

    Returns:
        The callback, or None if it was removed.

    Raises:
        UserError: an invalid class path.
    """
    path = replaced.get(name, CLASS_PATHS[name])
    return None if path is None else _class_of(name, path)(*arguments, **named)


def check_callbacks(replaced: Mapping[str, str | None]) -> None:
    """Validates replacements of callbacks.

    Raises:
        UserError: an unknown name, an invalid class path, or a required callback that is removed.
    """
    for name, path in replaced.items():
        if name not in CLASS_PATHS:
            raise unknown("part of a run", name, CLASS_PATHS)
        if path is not None:
            _class_of(name, path)
        elif name not in OPTIONAL:
            raise UserError(f"callbacks.{name} is null: optional callbacks are {', '.join(OPTIONAL)} alone")


def _class_of(name: str, path: str) -> type:
    module, _, found = path.rpartition(".")
    try:
        result = getattr(import_module(module), found)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"callbacks.{name} is {path}: expected the full name of a class, such as {CLASS_PATHS[name]} ({error})"
        ) from error
    if not isinstance(result, type):
        raise UserError(f"callbacks.{name} is {path}, which is not a class: expected one such as {CLASS_PATHS[name]}")
    return result
