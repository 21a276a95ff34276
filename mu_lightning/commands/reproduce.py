"""The command `reproduce`: recomputes stored results from their recipes."""

from pathlib import Path

from mu_lightning.commands.arguments import add_worker_arguments
from mu_lightning.commands.parsing import OneLineErrors, command_parser


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "reproduce",
        "Recomputes a result, or all results of a folder, from their recipes, trainings included, and "
        "compares all predictions. The status is 1 if any differs.",
    )
    add = result.add_argument
    add("folder", type=Path, help="folder of a result, results folder or N-by-N folder")
    add("--models-dir", type=Path | None, default=None, help="current folder of the models, if it has changed")
    add("--data-dir", type=Path | None, default=None, help="current folder of the MASSIVE release, if it has changed")
    add_worker_arguments(result)
    return result


def run(argv: list[str]) -> int:
    """Recomputes and compares; returns the exit status: 1 if a result differs.

    Raises:
        UserError: see `reproduce`.
    """
    arguments = parser().parse_args(argv)
    from mu_lightning.commands.arguments import start_workers, workers_from

    start_workers(arguments)
    from mu_lightning.experiments.reproduce import reproduce

    agreed, differing = 0, 0
    verdicts = reproduce(
        arguments.folder, workers_from(arguments), models_dir=arguments.models_dir, data_dir=arguments.data_dir
    )
    for verdict in verdicts:
        agreed += verdict.agrees
        differing += not verdict.agrees
        print(f"{'agrees' if verdict.agrees else 'DIFFERS'}: {verdict.folder}: {verdict.text}", flush=True)
    print(f"{agreed} of {agreed + differing} results are identical")
    return 1 if differing else 0
