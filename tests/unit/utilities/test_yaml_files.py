"""YAML from outside: no key is lost, nothing grows without bound, and what is wrong is one line."""

import re
from pathlib import Path

import pytest
import yaml
from jsonargparse import get_loader

from mu_lightning.commands import parsing  # noqa: F401  it sets jsonargparse's loader
from mu_lightning.utilities.errors import MAX_MESSAGE, UserError
from mu_lightning.utilities.yaml_files import MAX_DEPTH, dump_yaml, load_yaml, read_yaml

BOMB = (
    "[&x0 [" + ",".join(["lol"] * 10) + "]"
    + "".join(f", &x{i} [" + ",".join([f"*x{i - 1}"] * 10) + "]" for i in range(1, 9)) + "]"
)  # fmt: skip
REFUSED = {
    "a key twice": ("a: 1\nb: 2\na: 3", "the key 'a' is repeated in a mapping, in lines 1 and 3"),
    "a key twice further in": ("a: [{b: 1, b: 2}]", "the key 'b' is repeated"),
    "a number and its text as keys": ("1: a\n'1': b", "the key '1' is repeated"),
    "aliases of aliases": (BOMB, "values, aliases included"),
    "an alias of itself": ("a: &a [*a]", r"\*a refers to itself"),
    "deep nesting": ("a: " + "[" * 20_000, f"more than {MAX_DEPTH} levels"),
    "a number of many digits": ("seed: " + "9" * 5000, "4300 digits"),
    "a tag that lies": ("a: !!int x", "not what its tag or form says"),
    "another tag that lies": ("a: !!bool maybe", "not what its tag or form says"),
    "a tag that runs code": ("a: !!python/object/apply:os.system [ls]", "constructor"),
    "two documents": ("a: 1\n---\na: 2", "single document"),
    "no YAML": ("a: [1", "not valid YAML"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_be_lost_or_without_bound_is_refused_in_one_line(what: str) -> None:
    text, expected = REFUSED[what]
    with pytest.raises(UserError, match=expected) as caught:
        load_yaml(text, "recipe.yaml")
    message = str(caught.value)
    assert message.startswith("recipe.yaml is not valid YAML: ")
    assert "\n" not in message
    assert len(message) < MAX_MESSAGE + 100


def test_values_are_those_of_yaml_with_numbers_as_json_writes_them() -> None:
    text = "a: 1e-5\nb: [1, 1.5, .5, .inf, yes, ~, text]\nday: 2024-13-45\nc: &c {x: 1, y: 2}\nd: {<<: *c, x: 3}"
    assert load_yaml(text, "r") == {
        "a": 1e-5,
        "b": [1, 1.5, 0.5, float("inf"), True, None, "text"],
        "day": "2024-13-45",
        "c": {"x": 1, "y": 2},
        "d": {"x": 3, "y": 2},
    }
    assert load_yaml("", "r") is None


def test_many_plain_values_are_read() -> None:
    assert len(load_yaml("[" + "1," * 100_000 + "]", "r")) == 100_000


def test_a_mark_of_utf_8_is_read_and_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes("a: é\n".encode("utf-8-sig"))
    assert read_yaml(path) == {"a": "é"}
    path.write_bytes("a: é\n".encode("utf-16"))
    with pytest.raises(UserError, match="UTF-16"):
        read_yaml(path)


def test_jsonargparse_reads_yaml_by_the_same_rules() -> None:
    load = get_loader("yaml")
    assert load("{a: 1e-5}") == {"a": 1e-5}
    for text in ("{a: 1, a: 2}", BOMB, "!!int x"):
        with pytest.raises(yaml.YAMLError):
            load(text)


def test_it_reads_numbers_as_jsonargparse_does() -> None:
    load = get_loader("yaml")
    for text in ("1e5", "1E-5", ".5", "5.", ".5e+3", "-0.0", "1_000.5", "-.inf", ".nan", "1.2.3", "e5", "0x1F", "08"):
        assert repr(load_yaml(f"[{text}]", text)) == repr(load(f"[{text}]")), text


def test_an_error_is_cut_and_has_no_control_characters() -> None:
    with pytest.raises(UserError) as caught:
        load_yaml("!!int " + "x" * 10_000, "a\nb\x1b[31m")
    assert len(str(caught.value)) < MAX_MESSAGE + 100
    assert re.search(r"^a\\nb\\x1b", str(caught.value))


TRICKY = (
    *("1e5", "1E5", "-1e-5", ".5e3", "1.e5", "no", "y", "N", "on", "Off", "true", "null", "~", "", " ", "a ", " a"),
    *(
        "2024-01-01",
        "2024-13-45",
        "12:30",
        "0o17",
        "0x1F",
        "0b1",
        "1_000",
        "+1",
        ".inf",
        ".nan",
        "=",
        "<<",
        "- a",
        "a: b",
    ),
    *("# a", "a #b", "&a", "*a", "!a", "%a", "@a", "`a`", "'", '"', "[a", "{a", "a\nb", "a\n", "\ta", "a\r\nb", "\x07"),
    *("\x00", "\x7f", "\x85", "\u2028", "\ufeffa", "emoji 🙂", "\U0010ffff", "long " * 40, "a\\nb", "---", "..."),
)


@pytest.mark.parametrize("text", TRICKY)
def test_every_text_is_read_back_as_the_same_text_by_every_reader(text: str) -> None:
    for value in (text, [text], {"key": text}, {text: "value"}):
        written = dump_yaml(value)
        assert load_yaml(written, "it") == value
        assert yaml.safe_load(written) == value
        assert get_loader("yaml")(written) == value


def test_numbers_and_switches_are_read_back_too() -> None:
    value = {"a": 1e5, "b": 1e-7, "c": float("inf"), "d": True, "e": None, "f": -3, "g": [], "h": {}}
    assert load_yaml(dump_yaml(value), "it") == yaml.safe_load(dump_yaml(value)) == value
    assert dump_yaml({"a": "y", "b": "0o17", "c": "1e5"}) == "a: 'y'\nb: '0o17'\nc: '1e5'\n"
