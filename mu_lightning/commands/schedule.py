"""The command `schedule`: replays schedules over a run's recorded history, as a table and as a picture."""

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

# What of a configuration of `fit` matters here: the fields of `merge`, and where the run was.
_FIELDS = ("schedule", "frequency", "adaptive", "performance_trigger", "convergence_threshold")
_HISTORY = "history"


def parser() -> OneLineErrors:
    """The command's arguments."""
    result = OneLineErrors(
        prog=f"{program_name()} schedule",
        description="Replays a schedule over the scores that a run recorded, and shows when it would have merged and "
        "why, as a table and as a picture (schedule.svg and .png in the run's folder).",
    )
    result.older = older_names("schedule")
    defaults = MergeSettings()
    add = result.add_argument
    add(
        "--config",
        type=str,
        action="append",
        default=None,
        help="a YAML file of fit: its merge group says the schedule, its output_dir is the run",
    )
    add("--history", type=Path | None, default=None, help="the run: its folder, or its history.json")
    add(
        "--schedule",
        type=dict[str, Any] | str | None,
        default=defaults.schedule,
        help=f"when to merge: {', '.join(SCHEDULES)}; with parameters as in every-steps:n=50, several joined by +, or "
        "a mapping (see --list)",
    )
    add("--schedules", type=str, nargs="+", default=None, help="further ones, drawn below it for comparison")
    add("--merge-frequency", type=int, default=defaults.frequency, help="epochs from merge to merge")
    add("--adaptive-merge-frequency", action="store_true", help="adaptive, starting from --merge-frequency")
    add("--performance-merge-trigger", action="store_true", help="also when a member or the ensemble stopped improving")
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
        help="draw to this path with .svg and .png added (default: schedule, in the run's folder)",
    )
    add("--list", action="store_true", help="print every schedule with its parameters")
    return result


def run(argv: list[str]) -> int:
    """Replays, prints and draws; returns the exit status.

    Raises:
        UserError: no history, an unknown schedule or parameter, a configuration with unknown keys, or a picture that
            exists.
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
        raise UserError("no recorded run to replay over: name its folder with --history runs/NAME")
    from mu_lightning.schedules.replay import read_history, replay, table_rows
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
    from mu_lightning.reporting.schedule_picture import draw_schedules

    with locked(stem):
        draw_schedules(recorded.epochs, merges, target, stem, replace=arguments.figure is None)
    print(f"picture: {stem.with_name(stem.name + '.png')}")
    return 0


def _left(table: str) -> str:
    """The table with its last column, of words, to the left."""
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
    """What configuration files of `fit` say of the schedule and of the run, as defaults of the arguments here."""
    found: dict[str, Any] = {}
    known = {name.lstrip("-").split(".")[0].replace("-", "_") for name in _fit_keys()} | {
        _HISTORY,
        "trainer",
        "ckpt_path",
    }
    for path in paths:
        content = read_yaml(path) or {}
        if not isinstance(content, Mapping):
            raise UserError(f"the configuration {path} is no mapping of keys to values")
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
    """The names of `fit`'s arguments."""
    return {name for action in arguments(fit_arguments.parser("fit")) for name in action.option_strings}
