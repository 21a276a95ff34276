"""What holds for every registered approach: it is read back as it was recorded, hashed, named, and in the help."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from mu_lightning.approaches.base import Approach, Cell, Training
from mu_lightning.approaches.iterative import Iterative
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.reading import entries, read_approach, read_problem, recorded_approach
from mu_lightning.approaches.registry import APPROACHES
from mu_lightning.results.identity import Identity, read_identity
from mu_lightning.results.naming import names
from mu_lightning.settings import DataSettings, LoraSettings, MergeSettings, ModelSettings
from mu_lightning.utilities.errors import UserError

SOURCES = ("nl-NL", "de-DE", "en-US", "sv-SE")
PROBLEM = Problem("af-ZA", DataSettings(), "some/base", SOURCES)
TRAINED = Training(trainer={"max_epochs": 3})


def cell_of(approach: Approach, problem: Problem = PROBLEM, seed: int = 0) -> Cell:
    return Cell(problem, approach, seed, approach.choose(problem, SOURCES, seed))


def of(kind: type[Approach], **changes: Any) -> Approach:
    given = {"num_languages": 4} if "num_languages" in {one.name for one in fields(kind)} else {}
    return kind(**{"training": TRAINED, **given, **changes})


@pytest.mark.parametrize("name", APPROACHES)
def test_an_approach_is_read_back_as_it_was_recorded(name: str) -> None:
    cell = cell_of(of(APPROACHES[name]), seed=3)
    identity = read_identity(cell.identity.plain())
    assert identity == cell.identity
    again = recorded_approach(identity)
    problem = read_problem({"target": "af-ZA", "base": "some/base", "sources": list(identity.sources) or None})
    assert Cell(problem, again, 3, again.choose(problem, SOURCES, 3)).identity.digest == identity.digest


@pytest.mark.parametrize("name", APPROACHES)
def test_an_approach_has_a_summary_a_check_and_needs(name: str) -> None:
    approach = of(APPROACHES[name])
    approach.check()
    assert approach.summary
    needs = cell_of(approach).needs
    assert needs.trains or needs.models


def test_a_targets_cells_of_one_approach_differ_by_target_and_seed_alone_and_share_a_name() -> None:
    first = cell_of(of(Iterative)).identity
    others = [
        cell_of(of(Iterative), seed=1).identity,
        cell_of(of(Iterative), replace(PROBLEM, target="da-DK")).identity,
    ]
    assert len({first.digest, *(one.digest for one in others)}) == 3
    assert len(set(names([first, *others]))) == 1


def test_sources_tell_two_apart_only_where_one_target_has_both() -> None:
    few = replace(PROBLEM, sources=SOURCES[:3])
    several = [cell_of(of(Iterative)).identity, cell_of(of(Iterative, num_languages=3), few).identity]
    assert names(several)[0] != names(several)[1]
    other = replace(PROBLEM, target="da-DK", sources=("de-DE", "nl-NL", "en-US", "fr-FR"))
    assert len(set(names([several[0], cell_of(of(Iterative), other).identity]))) == 1
    same_target = replace(other, target="af-ZA")
    assert len(set(names([several[0], cell_of(of(Iterative), same_target).identity]))) == 2


def another(kind: Any, value: Any) -> Any:
    """Another value that a field may have."""
    if isinstance(value, bool):
        return not value
    if get_origin(kind) is Literal:
        return next(choice for choice in get_args(kind) if choice != value)
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.5
    if isinstance(value, str):
        return f"{value}-other"
    for choice in get_args(kind):
        if choice is bool or choice is int:
            return 2
        if choice is float:
            return 0.25
        if get_origin(choice) is Literal:
            return get_args(choice)[0]
        if choice is str:
            return "other"
    raise AssertionError(f"no other value of {kind} than {value}")


# What is only kept on the disk, or stands for another field.
KEPT = {"keep_merges"}
MERGE_FIELDS = [one.name for one in fields(MergeSettings) if one.name not in KEPT]
OWN_VALUES: Mapping[str, dict[str, Any]] = {
    "method": {"method": "ties"},
    "parameters": {"method": "ties", "parameters": {"density": 0.3}},
    "schedule": {"schedule": "at-end"},
    "convergence_threshold": {"schedule": "plateau", "convergence_threshold": 0.3},
}
BESIDE: Mapping[str, dict[str, Any]] = {
    "parameters": {"method": "ties"},
    "convergence_threshold": {"schedule": "plateau"},
}


@pytest.mark.parametrize("name", MERGE_FIELDS)
def test_runs_that_differ_in_one_merge_setting_are_two_methods_named_by_it(name: str) -> None:
    kinds = get_type_hints(MergeSettings)
    changed = OWN_VALUES.get(name) or {name: another(kinds[name], getattr(MergeSettings(), name))}
    one = cell_of(of(Iterative, merge=MergeSettings(**BESIDE.get(name, {})))).identity
    other = cell_of(of(Iterative, merge=MergeSettings(**changed))).identity
    assert one.digest != other.digest
    first, second = names([one, other])
    assert first != second


@pytest.mark.parametrize("name", [one.name for one in fields(ModelSettings) if one.name != "base"])
def test_runs_that_differ_in_one_setting_of_the_model_are_two_methods_named_by_it(name: str) -> None:
    value = getattr(ModelSettings(), name)
    changed = LoraSettings(r=4) if is_dataclass(value) else another(get_type_hints(ModelSettings)[name], value)
    more = {"vocabulary": "full"} if name == "decay_unused" else {}
    model = ModelSettings(**{**more, name: changed})
    told_apart(
        cell_of(of(Iterative, training=Training(model=ModelSettings(**more)))).identity,
        cell_of(of(Iterative, training=Training(model=model))).identity,
        "r 4" if name == "lora" else name.replace("_", " "),
    )


@pytest.mark.parametrize(
    ("argument", "value"),
    [("max_epochs", 9), ("max_steps", 7), ("precision", "bf16-mixed"), ("accumulate_grad_batches", 2),
     ("gradient_clip_val", 0.5), ("limit_train_batches", 3), ("overfit_batches", 2)],
)  # fmt: skip
def test_runs_that_differ_in_one_argument_of_the_trainer_are_two_methods_named_by_it(argument: str, value: Any) -> None:
    told_apart(
        cell_of(of(Iterative, training=Training())).identity,
        cell_of(of(Iterative, training=Training(trainer={argument: value}))).identity,
        f"{argument.replace('_', ' ')} {value}",
    )


@pytest.mark.parametrize("name", ["batch_size", "batch_tokens", "max_length", "limit_train", "corpus"])
def test_results_on_other_data_are_told_apart(name: str) -> None:
    changed = {"batch_tokens": 128, "corpus": "massive"}.get(name, 17)
    told_apart(
        cell_of(of(Iterative)).identity,
        cell_of(of(Iterative), replace(PROBLEM, data=replace(PROBLEM.data, **{name: changed}))).identity,
        name.replace("_", " "),
    )


def told_apart(one: Identity, other: Identity, said: str) -> None:
    assert one.digest != other.digest
    first, second = names([one, other])
    assert first != second
    assert said in first or said in second


def test_where_and_how_it_is_computed_is_no_part_of_an_identity() -> None:
    places = {"accelerator": "cpu", "devices": 2, "enable_progress_bar": False, "logger": False, "max_steps": -1}
    one = cell_of(of(Iterative, training=Training())).identity
    other = cell_of(
        of(Iterative, training=Training(trainer=places), merge=MergeSettings(keep_merges=5)),
        replace(PROBLEM, base="elsewhere/base", data=replace(PROBLEM.data, data_dir=Path("x"), eval_batch_size=7)),
    ).identity
    assert one == other


def test_an_entry_goes_through_its_lists() -> None:
    entry = {"approach": "one_shot", "method": ["linear", "ties"], "preweight": ["equal", "uriel"]}
    found = [read_approach(one) for one in entries(entry)]
    assert [(one.method, one.preweight) for one in found] == [  # type: ignore[attr-defined]
        ("linear", "equal"), ("linear", "uriel"), ("ties", "equal"), ("ties", "uriel"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"approach": "oneshot"}, "unknown approach 'oneshot': did you mean one_shot"),
        ({"approach": "joint", "num_langages": 3}, "did you mean num_languages"),
        ({"approach": "joint", "num_languages": "three"}, "num_languages"),
        ({"approach": "iterative", "merge": {"sync": "pul"}}, "replace"),
    ],
)
def test_a_mistake_in_an_entry_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_approach(values)
    assert "\n" not in str(caught.value)
