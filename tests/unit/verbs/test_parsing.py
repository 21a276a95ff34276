"""A mistake on the command line is one line, whatever the verb."""

import pytest

import cli
from mu_lightning.errors import UserError
from mu_lightning.verbs.manual import verb_parser
from mu_lightning.verbs.parsing import OneLineErrors, one_line


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_offers_the_nearest_argument(verb: str) -> None:
    with pytest.raises(UserError) as refused:
        verb_parser(verb).parse_args(["--confg", "x.yaml"])
    assert str(refused.value).startswith("unknown argument '--confg': did you mean --config")


def test_where_nothing_is_near_the_help_is_named() -> None:
    with pytest.raises(UserError, match="unknown argument '--zzzz': see mu-lightning merge --help"):
        verb_parser("merge").parse_args(["--zzzz=1"])


def test_a_value_of_the_wrong_kind_names_key_value_and_kind() -> None:
    parser = OneLineErrors()
    parser.add_argument("--top-k", type=int)
    parser.add_argument("--rate", type=float | None)
    parser.add_argument("--vote", choices=("soft", "majority"))
    for words, expected in (
        (["--top-k", "x"], "top_k is 'x': expected int"),
        (["--rate", "fast"], "rate is 'fast': expected float or null"),
        (["--vote", "sofd"], "unknown value of --vote 'sofd': did you mean soft?"),
        (["--rate"], "argument --rate: expected one argument"),
    ):
        with pytest.raises(UserError) as refused:
            parser.parse_args(words)
        assert str(refused.value) == expected


def test_whatever_else_is_said_is_folded_into_one_line() -> None:
    assert one_line("Problems\n  in the file,\n  line 3") == "Problems in the file, line 3"
