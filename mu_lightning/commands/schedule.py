"""The command `schedule`: replays merge schedules on the history of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mu_lightning.commands import fit_arguments
from mu_lightning.commands.invocation import program_name
from mu_lightning.commands.older_names import older_names
from mu_lightning.commands.parsing import OneLineErrors
from mu_lightning.schedules.parsing import build_schedule, list_schedules, schedule_of
from mu_lightning.schedules.schedules import SCHEDULES, Schedule
from mu_lightning.settings import MergeSettings
from mu_lightning.utilities.adapters.parser_arguments import arguments
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.files import refuse_existing
from mu_lightning.utilities.locks import locked
from mu_lightning.utilities.resources import resource
from mu_lightning.utilities.yaml_files import read_yaml

# Keys of a `fit` configuration that are used: the fields of `merge`, and the run folder.
_FIELDS = ("schedule", "frequency", "adaptive", "performance_trigger", "convergence_threshold")
_HISTORY = "history"


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = OneLineErrors(
        prog=f"{program_name()} schedule",
        description="Replays a merge schedule on the recorded scores of a run, and shows when it would have merged "
        "and why, as a table and as a plot (schedule.svg and .png in the run folder).",
    )
    result.older = older_names("schedule")
    defaults = MergeSettings()
    add = result.add_argument
    add(
        "--config",
        type=str,
        action="append",
        default=None,
        help="YAML file of fit with schedule (group merge) and run folder (output_dir)",
    )
    add("--history", type=Path | None, default=None, help="run folder, or history.json")
    add(
        "--schedule",
        type=dict[str, Any] | str | None,
        default=defaults.schedule,
        help=f"schedule: {', '.join(SCHEDULES)}; with parameters as in every-steps:n=50, several joined by +, or "
        "a mapping (see --list)",
    )
    add("--schedules", type=str, nargs="+", default=None, help="further schedules for comparison")
    add("--merge-frequency", type=int, default=defaults.frequency, help="epochs between merges")
    add("--adaptive-merge-frequency", action="store_true", help="adaptive interval, starting from --merge-frequency")
    add(
        "--performance-merge-trigger",
        action="store_true",
        help="also merge when a member or the ensemble stops improving",
    )
    add(
        "--convergence-threshold",
        type=float,
        default=defaults.convergence_threshold,
        help="minimum gain that counts as an improvement",
    )
    add(
        "--figure",
        type=Path | None,
        default=None,
        help="path of the plots without suffix (default: schedule, in the run folder)",
    )
    add("--list", action="store_true", help="list all schedules with parameters")
    return result


def run(argv: list[str]) -> int:
    """Replays, prints and plots; returns the exit status.

    Raises:
        UserError: no history, an unknown schedule or parameter, unknown keys, or an existing plot.
    """
    reading = parser()
    configured = _configured([resource(path) for path in reading.parse_args(argv).config or ()])
    reading.set_defaults(configured)
    arguments = reading.parse_args(argv)
    if arguments.list:
        print(list_schedules())
        return 0
    settings = MergeSettings(
        schedule=arguments.schedule,
        frequency=arguments.merge_frequency,
        adaptive=arguments.adaptive_merge_frequency,
        performance_trigger=arguments.performance_merge_trigger,
        convergence_threshold=arguments.convergence_threshold,
    )
    main = schedule_of(settings)
    schedules: dict[str, Schedule] = {_title(main, settings): main}
    for text in arguments.schedules or ():
        schedules[text] = build_schedule(text)
    if arguments.history is None:
        raise UserError("no history is given: set --history runs/NAME")
    from mu_lightning.schedules.history import read_history
    from mu_lightning.schedules.replay import replay, table_rows
    from mu_lightning.utilities.tables import counted, text_table

    recorded = read_history(arguments.history)
    folder = arguments.history if arguments.history.is_dir() else arguments.history.parent
    stem = arguments.figure or folder / "schedule"
    if arguments.figure is not None:
        for suffix in ("svg", "png"):
            refuse_existing(stem.with_name(f"{stem.name}.{suffix}"), "a picture")
    target = recorded.targets[0]
    merges: dict[str, list[dict[str, Any]]] = {
        "the run itself": [dict(merge) | {"recorded": True} for merge in recorded.merges]
    }
    for title, schedule in schedules.items():
        merges[title] = replay(schedule, recorded)
    for title, made in list(merges.items())[1:]:
        print(f"{title}: {counted(len(made), 'merge')} in {counted(len(recorded.epochs), 'epoch')}")
        if made:
            rows = [(*row[:4], f"  {row[4]}") for row in table_rows(made, target)]
            print(_left(text_table(("merge", "epoch", "step", "gain in the run", "  reason"), rows)) + "\n")
    from mu_lightning.reporting.schedule_plot import draw_schedules

    with locked(stem):
        draw_schedules(recorded.epochs, merges, target, stem, replace=arguments.figure is None)
    print(f"picture: {stem.with_name(stem.name + '.png')}")
    return 0


def _left(table: str) -> str:
    """Left-aligns the last column of a table."""
    lines = table.splitlines()
    start = lines[1].rstrip().rfind(" ") + 1
    return "\n".join(line[:start] + line[start:].strip() for line in lines)


def _title(schedule: Schedule, settings: MergeSettings) -> str:
    if isinstance(settings.schedule, str):
        return settings.schedule
    parts = getattr(schedule, "schedules", (schedule,))
    if settings.schedule is None and not settings.adaptive and not settings.performance_trigger:
        return f"every-epochs:n={settings.frequency}"
    return "+".join(part.name for part in parts)


def _configured(paths: list[Path]) -> dict[str, Any]:
    """Reads schedule and run folder from configuration files of `fit`, as defaults."""
    found: dict[str, Any] = {}
    known = {name.lstrip("-").split(".")[0].replace("-", "_") for name in _fit_keys()} | {
        _HISTORY,
        "trainer",
        "ckpt_path",
    }
    for path in paths:
        content = read_yaml(path) or {}
        if not isinstance(content, Mapping):
            raise UserError(f"the configuration {path} is not a mapping")
        for key in content:
            if key not in known:
                raise unknown(f"key in {path}", str(key), known)
        merging = content.get("merge") or {}
        for key in merging:
            if key not in MergeSettings.__dataclass_fields__:
                raise unknown(f"key of merge in {path}", str(key), MergeSettings.__dataclass_fields__)
        names = {
            "frequency": "merge_frequency",
            "adaptive": "adaptive_merge_frequency",
            "performance_trigger": "performance_merge_trigger",
        }
        found |= {names.get(key, key): merging[key] for key in _FIELDS if key in merging}
        if content.get("output_dir"):
            found[_HISTORY] = Path(content["output_dir"])
        if content.get(_HISTORY):
            found[_HISTORY] = Path(content[_HISTORY])
    return found


def _fit_keys() -> set[str]:
    """Returns the arguments of `fit`."""
    return {name for action in arguments(fit_arguments.parser("fit")) for name in action.option_strings}
