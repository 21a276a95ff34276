"""The command `workspace`: saves a W&B workspace that is laid out for merges."""

from pathlib import Path

from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import reserved

SUMMARY = "Saves a workspace for merges into a W&B project; every run with --enable-wandb fills it."


def parser() -> OneLineErrors:
    """The command's arguments."""
    result = command_parser("workspace", SUMMARY)
    result.add_argument("--project", type=str, default="mu-lightning", help="the project on W&B")
    result.add_argument("--entity", type=str | None, default=None, help="the user or team; default: your own on W&B")
    result.add_argument("--name", type=str, default="Merges", help="what the workspace is called")
    result.add_argument(
        "--output-file", type=Path | None, default=None, help="write the definition to this JSON file instead, offline"
    )
    return result


def run(argv: list[str]) -> int:
    """Saves the workspace, or writes its definition; returns the exit status.

    Raises:
        UserError: W&B has no account here or cannot be reached, or the output exists.
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
        raise UserError(f"no W&B account can be used here: {error}; run 'wandb login', or name --entity") from error
    if not entity:
        raise UserError("the W&B account has no default entity: name --entity")
    return str(entity)
