"""wandb-workspaces has no public way to write a workspace down: it only sends one to W&B."""

import json
from typing import Any


def definition(workspace: Any) -> dict[str, Any]:
    """A workspace's definition as plain values, as W&B stores it.

    Args:
        workspace: a `Workspace` of wandb-workspaces.
    """
    found: dict[str, Any] = json.loads(workspace._model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return found
