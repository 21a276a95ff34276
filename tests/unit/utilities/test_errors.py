"""The error for an unknown name helps to find the right one."""

import pickle

import pytest

from mu_lightning.utilities.errors import MAX_MESSAGE, UserError, check_number, shown, unknown


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("sq-Al", "did you mean sq-AL?"),
        ("SQ-AL", "did you mean sq-AL?"),
        ("sq_AL", "did you mean sq-AL?"),
        ("zzzzzz", "known: en-US, fr-FR, sq-AL"),
        ("", "known: en-US, fr-FR, sq-AL"),
    ],
)
def test_the_nearest_names_are_offered_whatever_their_case_else_all(given: str, hint: str) -> None:
    error = unknown("locale", given, ["sq-AL", "en-US", "fr-FR"])
    assert str(error) == f"unknown locale '{given}': {hint}"


def test_several_near_names_are_all_offered_best_first() -> None:
    assert str(unknown("method", "linea", ["lineal-x", "ties", "linear"])).endswith("did you mean linear or lineal-x?")
    assert str(unknown("verb", "merg", iter(["merge", "fit"]))).endswith("did you mean merge?")


def test_a_library_user_can_catch_it_as_a_value_error() -> None:
    assert isinstance(unknown("verb", "x", ["fit"]), UserError)
    assert issubclass(UserError, ValueError)


@pytest.mark.parametrize("value", [None, 1, 1.0, 2.5])
def test_a_number_within_its_bounds_passes(value: float | None) -> None:
    check_number("rate", value, least=1, most=2.5)


@pytest.mark.parametrize(
    ("value", "bounds", "expected"),
    [
        (0.9, {"least": 1}, "rate is 0.9: expected a number at least 1"),
        (0, {"above": 0, "most": 1}, "rate is 0: expected a number at most 1 and above 0"),
        (1, {"below": 1}, "rate is 1: expected a number below 1"),
        (float("nan"), {}, "rate is nan: expected a number"),
        (float("inf"), {"least": 0}, "rate is inf: expected a number at least 0"),
    ],
)
def test_a_number_out_of_its_bounds_is_named_with_them(value: float, bounds: dict[str, float], expected: str) -> None:
    with pytest.raises(UserError) as refused:
        check_number("rate", value, **bounds)
    assert str(refused.value) == expected


def test_a_message_is_one_line_and_is_cut() -> None:
    message = str(UserError("the name a\nb\x1b[1m \u202e" + "x" * 10_000))
    assert message.startswith("the name a\\nb\\x1b[1m \\u202exxx")
    assert len(message) < MAX_MESSAGE + 100


def test_it_survives_a_trip_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(UserError("a\nb")))
    assert (type(error), str(error)) == (UserError, r"a\nb")


def test_what_was_given_is_shown_shortly() -> None:
    assert shown({"model": {"path": "x"}}) == "{'model': {'path': 'x'}}"
    assert len(shown([["x" * 100] * 100] * 100)) < 20_000
    assert len(str(unknown("method", "x" * 10_000, ["ties"]))) < 500
