"""The command `workspace`: saves a W&B workspace for merges."""

from pathlib import Path

from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import reserved

SUMMARY = "Saves a workspace for merges in a W&B project, for runs with --enable-wandb."


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser("workspace", SUMMARY)
    result.add_argument("--project", type=str, default="mu-lightning", help="W&B project")
    result.add_argument(
        "--entity", type=str | None, default=None, help="W&B user or team (default: your default entity)"
    )
    result.add_argument("--name", type=str, default="Merges", help="name of the workspace")
    result.add_argument(
        "--output-file", type=Path | None, default=None, help="write the definition to this JSON file instead, offline"
    )
    return result


def run(argv: list[str]) -> int:
    """Saves the workspace, or writes its definition; returns the exit status.

    Raises:
        UserError: no W&B credentials, W&B is unreachable, or an existing output.
    """
    arguments = parser().parse_args(argv)
    from mu_lightning.monitoring.workspace import build_workspace, save_workspace, write_definition

    if arguments.output_file is not None:
        with reserved(arguments.output_file, "a file"):
            write_definition(
                build_workspace(arguments.entity or "you", arguments.project, arguments.name), arguments.output_file
            )
        print(f"definition: {arguments.output_file}")
        return 0
    entity = arguments.entity or _own_entity()
    print(f"workspace: {save_workspace(build_workspace(entity, arguments.project, arguments.name))}")
    return 0


def _own_entity() -> str:
    import wandb

    try:
        entity = wandb.Api().default_entity
    except (wandb.Error, OSError, ValueError) as error:
        raise UserError(f"no W&B credentials: {error}; run 'wandb login', or set --entity") from error
    if not entity:
        raise UserError("the W&B account has no default entity: set --entity")
    return str(entity)
