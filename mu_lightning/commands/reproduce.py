"""The command `reproduce`: a stored result from its recipe, once more."""

from pathlib import Path

from mu_lightning.commands.arguments import add_worker_arguments
from mu_lightning.commands.parsing import OneLineErrors, command_parser


def parser() -> OneLineErrors:
    """The command's arguments."""
    result = command_parser(
        "reproduce",
        "Recomputes a result, or every result of a folder, from its recipe, and says whether all its "
        "predictions come out the same. The status is 1 if any differs. What was trained for a result is trained anew.",
    )
    add = result.add_argument
    add("folder", type=Path, help="the result's folder, a results folder or an N-by-N folder")
    add("--models-dir", type=Path | None, default=None, help="where the models are now, if not where they were")
    add("--data-dir", type=Path | None, default=None, help="where the MASSIVE release is now, if not where it was")
    add_worker_arguments(result)
    return result


def run(argv: list[str]) -> int:
    """Recomputes and compares; returns the exit status: 1 if a result differs.

    Raises:
        UserError: what `reproduce` raises.
    """
    arguments = parser().parse_args(argv)
    from mu_lightning.commands.arguments import workers_from
    from mu_lightning.experiments.reproduce import reproduce

    agreed, differing = 0, 0
    verdicts = reproduce(
        arguments.folder, workers_from(arguments), models_dir=arguments.models_dir, data_dir=arguments.data_dir
    )
    for verdict in verdicts:
        agreed += verdict.agrees
        differing += not verdict.agrees
        print(f"{'agrees' if verdict.agrees else 'DIFFERS'}: {verdict.folder}: {verdict.text}", flush=True)
    print(f"{agreed} of {agreed + differing} results came out the same")
    return 1 if differing else 0
