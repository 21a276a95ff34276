"""What acts while a run trains, by class path: the one place that names it, so that any process can build it."""

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

# What a run can do without: it watches, and no result and no resuming hangs on it.
OPTIONAL = ("manifest", "dashboard", "history", "kept_merges", "throughput", "progress")


class Merges(Protocol):
    """What a run reads of the callback ``merge``.

    Attributes:
        history: a record of each merge, in order.
        models: target -> the state dict of its last committed merge.
    """

    history: list[dict[str, Any]]
    models: dict[str, dict[str, Tensor]]

    def supervision_of(self, target: str) -> Supervision:
        """What of a target the decisions looked at."""


def build_callback(name: str, replaced: Mapping[str, str | None], *arguments: Any, **named: Any) -> Any:
    """Imports and builds one part of a run.

    Args:
        name: in `CLASS_PATHS`.
        replaced: name -> the class path that is taken instead, or None to leave it out, as in `RunSettings.callbacks`.
        arguments: what its class takes.
        named: the same, by name.

    Returns:
        None where it is left out.

    Raises:
        UserError: the class path leads nowhere.
    """
    path = replaced.get(name, CLASS_PATHS[name])
    return None if path is None else _class_of(name, path)(*arguments, **named)


def check_callbacks(replaced: Mapping[str, str | None]) -> None:
    """Checks what is to take the place of parts of a run.

    Raises:
        UserError: a name is not in `CLASS_PATHS`, a class path leads nowhere, or a part is left out that none can be
            without.
    """
    for name, path in replaced.items():
        if name not in CLASS_PATHS:
            raise unknown("part of a run", name, CLASS_PATHS)
        if path is not None:
            _class_of(name, path)
        elif name not in OPTIONAL:
            raise UserError(f"callbacks.{name} is null: a run can do without {', '.join(OPTIONAL)} alone")


def _class_of(name: str, path: str) -> type:
    module, _, found = path.rpartition(".")
    try:
        result = getattr(import_module(module), found)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"callbacks.{name} is {path}: expected a class' full name, such as {CLASS_PATHS[name]} ({error})"
        ) from error
    if not isinstance(result, type):
        raise UserError(f"callbacks.{name} is {path}, which is no class: expected one such as {CLASS_PATHS[name]}")
    return result
