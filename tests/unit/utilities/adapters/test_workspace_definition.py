"""wandb-workspaces still keeps what it sends to W&B where the adapter finds it."""

import pytest

from mu_lightning.utilities.adapters.workspace_definition import definition

workspaces = pytest.importorskip("wandb_workspaces.workspaces")

CHANGED = "wandb-workspaces no longer keeps a workspace's definition in `_model`: mend adapters/workspace_definition.py"


def test_a_workspaces_definition_names_its_sections() -> None:
    workspace = workspaces.Workspace(entity="me", project="mine", sections=[workspaces.Section(name="Merges")])
    assert hasattr(workspace, "_model"), CHANGED
    sections = definition(workspace)["section"]["panelBankConfig"]["sections"]
    assert "Merges" in [section["name"] for section in sections], CHANGED
