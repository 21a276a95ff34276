"""A W&B workspace for merges, created by `python cli.py workspace`."""

from pathlib import Path
from typing import Any

from mu_lightning.monitoring.values import AXIS
from mu_lightning.utilities.adapters.workspace_definition import definition
from mu_lightning.utilities.errors import UserError

NAME = "Merges"
# Names of further targets are between "merge/" and the metric.
_TARGET = "(?:[a-z]+-[A-Z]+/)?"


def build_workspace(entity: str, project: str, name: str = NAME) -> Any:
    """Builds the workspace, without network access.

    Charts select members and targets by pattern, so that one workspace works for all runs of a project.

    Args:
        entity: W&B user or team.
        project: W&B project.
        name: name of the workspace.

    Raises:
        UserError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as reports
        import wandb_workspaces.workspaces as workspaces
    except ImportError:
        raise UserError(
            "the workspace needs wandb-workspaces, which is not installed: pip install 'mu-lightning[workspace]'"
        ) from None

    def by_merge(title: str, pattern: str, y: str = "accuracy") -> Any:
        return reports.LinePlot(
            title=title, x=AXIS, metric_regex=pattern, title_x="merge", title_y=y, smoothing_factor=0.0
        )

    def by_step(title: str, pattern: str, y: str) -> Any:
        return reports.LinePlot(
            title=title, x="trainer/global_step", metric_regex=pattern, title_x="optimizer step", title_y=y
        )

    def section(title: str, *panels: Any, columns: int = 2) -> Any:
        layout = workspaces.SectionLayoutSettings(columns=columns, rows=-(-len(panels) // columns))
        return workspaces.Section(name=title, panels=list(panels), is_open=True, layout_settings=layout)

    bars = reports.CustomChart(
        query={"summaryTable": {"tableKey": "merge/weights_table"}},
        chart_name="wandb/bar/v0",
        chart_fields={"label": "member", "value": "weight"},
        chart_strings={"title": "Merge weights of the last merge"},
    )
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        auto_generate_panels=False,
        sections=[
            section(
                "Merges",
                by_merge("Members' mean before, merged model after", f"^merge/{_TARGET}accuracy_(before|after)$"),
                by_merge("Gain of each merge", f"^merge/{_TARGET}gain$", "accuracy, after minus before"),
                by_merge("Each member and the ensemble before", f"^merge/{_TARGET}before/.+$"),
                by_merge("Merge weights", f"^merge/{_TARGET}weight/.+$", "weight"),
                bars,
                by_merge("Kept (1) or rolled back (0)", "^merge/committed$", "committed"),
            ),
            section(
                "What each merge changed",
                reports.WeavePanelSummaryTable(table_name="merge/all"),
                reports.WeavePanelSummaryTable(table_name="merge/models"),
                reports.WeavePanelSummaryTable(table_name="merge/distances"),
                columns=1,
            ),
            section(
                "Members",
                by_merge("Own locales: members before, merged model after", "^merge/source_(before|after)/.+$"),
                by_merge("Distances between members, and their mean", "^merge/(drift$|distance/.+$)", "distance"),
                by_step("Loss", "^train/loss/.+$", "cross-entropy"),
                by_step("Own dev split after each epoch", "^val/accuracy/.+$", "accuracy"),
            ),
            section(
                "Speed and memory",
                by_step("Utterances per second", "^speed/utterances_per_second$", "utterances per second"),
                by_step("Memory of each process and GPU", "^memory/.+$", "GiB"),
                by_merge("Duration of merges in seconds", "^merge/seconds$", "seconds"),
            ),
        ],
    )


def patterns(workspace: Any) -> dict[str, str]:
    """Returns the metric pattern of each line chart by title."""
    panels = [panel for section in workspace.sections for panel in section.panels]
    return {panel.title: panel.metric_regex for panel in panels if getattr(panel, "metric_regex", None)}


def save_workspace(workspace: Any) -> str:
    """Saves the workspace to W&B and returns its URL.

    Raises:
        UserError: W&B is unreachable, or access is denied.
    """
    import wandb

    try:
        return str(workspace.save().url)
    except (wandb.Error, OSError, ValueError) as error:
        raise UserError(
            f"the workspace was not saved into {workspace.entity}/{workspace.project}: {error}; is the project there, "
            "and 'wandb login' done?"
        ) from error


def write_definition(workspace: Any, path: Path) -> None:
    """Writes the definition of the workspace as JSON."""
    from mu_lightning.utilities.files import write_json

    write_json(path, {"name": workspace.name, "project": workspace.project, "spec": definition(workspace)})
