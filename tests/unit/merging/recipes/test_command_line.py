"""Parameters, overrides and sizes as people write them."""

import pytest

from mu_lightning.merging.engine.job import Override
from mu_lightning.merging.recipes.command_line import parse_bytes, parse_overrides, parse_parameters
from mu_lightning.utilities.errors import UserError


def test_parameters() -> None:
    assert parse_parameters(None) == {}
    assert parse_parameters({"density": 0.2}) == {"density": 0.2}
    found = parse_parameters(" density = 0.2 , density-x=a,window.nl-NL=0.1,window.de-DE=0.3")
    assert found == {"density": "0.2", "density-x": "a", "window": {"nl-NL": "0.1", "de-DE": "0.3"}}


def test_overrides_as_text_or_as_in_recipes() -> None:
    given = [
        "classifier.*:density=1,weight.nl-NL=0.5,scope=tensor",
        {"pattern": "*.bias", "weights": {"nl-NL": 1}, "parameters": {"density": 0.5}},
    ]
    assert parse_overrides(given) == (
        Override("classifier.*", {"nl-NL": 0.5}, {"density": "1", "scope": "tensor"}),
        Override("*.bias", {"nl-NL": 1.0}, {"density": 0.5}),
    )
    assert parse_overrides(None) == ()


@pytest.mark.parametrize(("given", "bytes_"), [("5GB", 5 * 10**9), ("1.5 MB", 1_500_000), ("2GiB", 2**31), (700, 700)])
def test_sizes(given: str | int, bytes_: int) -> None:
    assert parse_bytes(given, "--max-shard-size") == bytes_


@pytest.mark.parametrize("given", ["", "GB", "5XB", "0", "-1GB"])
def test_what_is_no_size_is_refused(given: str) -> None:
    with pytest.raises(UserError, match=r"--max-shard-size .*is not a size.*5GB"):
        parse_bytes(given, "--max-shard-size")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("density", "not of the form"),
        ("density=1,density=2", "repeats density"),
        ("density=1,density.nl-NL=2", r"repeats density.nl-NL"),
    ],
)
def test_broken_parameters_are_refused(given: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_parameters(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("classifier.*", "not of the form PATTERN:"),
        (":density=1", "not of the form PATTERN:"),
        ("classifier.*:density", "not of the form"),
        ("classifier.*:weight.nl-NL=much", "the weight of nl-NL for 'classifier.*' is 'much'"),
        ({"weights": {"nl-NL": 1}}, "has no pattern"),
        ({"pattern": "x"}, "is empty"),
        ({"pattern": "x", "weight": {"nl-NL": 1}}, "not weight"),
    ],
)
def test_broken_overrides_are_refused(given: object, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("*", r"\*")):
        parse_overrides([given])  # type: ignore[list-item]
