"""The error for an unknown name helps to find the right one."""

import pytest

from mu_lightning.errors import UserError, unknown


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
