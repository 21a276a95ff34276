"""Tokenizers, compared by what they do with a text: as transformers loads them, not by how their files are written.

Files of one tokenizer differ between versions of the libraries: as the hub has ``xlm-roberta-base``, and as
transformers 5 saves it, not one of them is the same.
"""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from mu_lightning.merging.folders.tokenizer_files import check_tokenizer_files
from mu_lightning.utilities.errors import UserError, shown

_SPECIAL = ("pad", "unk", "cls", "sep", "bos", "eos", "mask")
_LAST = 0x323AF  # the last character of the scripts; beyond are tags and private characters
_SAMPLE = 20_000  # pieces of a vocabulary that are tried as texts
# Texts in which normalizers and pre-tokenizers are known to differ.
_PROBES = (
    "",
    " ",
    "  two  spaces\tand\na line\r\n ",
    "no\u00a0break, zero\u200bwidth, \u2028separators\u3000",
    "e\u0301 \u00e9 \u1e69 s\u0323\u0307 \u0f71\u0f80",  # decomposed, composed, and in another order
    "\uff21\uff22\uff13 \ufb01 \u2460 \u00bd \u2122 \u33a5 \u1100\u1161\u11a8",  # compatibility characters, jamo
    "\u0130I\u0131i \u00df \u1e9e \u03a3\u03c3\u03c2 Stra\u00dfe \u01c5",  # case
    "ab\u0640\u0640\u064e \u0627\u0644\u0633\u0644\u0627\u0645 \u05e9\u05b8\u05dc\u05d5\u05b9\u05dd",  # tatweel, vowels
    "\U0001f469\u200d\U0001f4bb \U0001f1f3\U0001f1f1 \u2764\ufe0f \u00ad\ufeff",  # joined emoji, flags, marks
    "<s> a </s> <pad> <unk> <mask> [CLS] [MASK] \u2581under \u0120g ##s",
    "don't 3.14, 1,000! (a/b) x_y @me #tag http://a.b/c?d=e&f a-b--c \u201cq\u201d\u2026",
    "\u0915\u094d\u0937 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u65e5\u672c\u8a9e\u306e\u6587 \ud55c\uad6d\uc5b4",
    "w" * 300,
)


class _Tokenizer:
    """A tokenizer as transformers loads it, and what is compared of it, each found once.

    Args:
        folder: the model folder.

    Raises:
        UserError: it cannot be loaded.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        except Exception as error:  # the libraries below raise errors of many families
            check_tokenizer_files(folder)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(f"the tokenizer in {folder} cannot be loaded, and so not be compared: {reason}") from error

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Token -> id."""
        found: dict[str, int] = self.tokenizer.get_vocab()
        return found

    @cached_property
    def state(self) -> dict[str, Any]:
        """The tokenizer as the tokenizers library writes it; empty for one that is written in Python."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        found: dict[str, Any] = {} if backend is None else json.loads(backend.to_str())
        return found

    def step(self, name: str) -> Any:
        """The ``normalizer`` or ``pre_tokenizer``; None if there is none."""
        return getattr(self.tokenizer.backend_tokenizer, name)

    def ids(self, texts: list[str]) -> list[list[int]]:
        """The ids of whole texts, special tokens included."""
        before = self.tokenizer.model_max_length
        self.tokenizer.model_max_length = 10**9  # no warnings about long texts
        try:
            found: list[list[int]] = self.tokenizer(texts, truncation=False, padding=False)["input_ids"]
        finally:
            self.tokenizer.model_max_length = before
        return found


def tokenizer_difference(expected: Path, found: Path) -> str | None:
    """What the tokenizers of two model folders do differently, in words; None if every text gets the same ids.

    Compared are special tokens, pieces with their ids and scores, merges and the model's settings; normalizers and
    pre-tokenizers on every character that Unicode has assigned; and the ids of probe texts in all scripts, and of the
    vocabulary's own pieces.

    Args:
        expected: the one folder.
        found: the other.

    Raises:
        UserError: a tokenizer cannot be loaded.
    """
    one, other = _loaded(expected, _stamp(expected)), _loaded(found, _stamp(found))
    for difference in (_special_tokens, _vocabularies, _models, _steps, _texts):
        said = difference(one, other)
        if said is not None:
            return said
    return None


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Tells the content of a folder apart, so that a tokenizer is loaded anew where files have changed."""
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


@lru_cache(maxsize=2)
def _loaded(folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> _Tokenizer:
    del stamp
    return _Tokenizer(folder)


def _special_tokens(one: _Tokenizer, other: _Tokenizer) -> str | None:
    for name in _SPECIAL:
        tokens = [getattr(each.tokenizer, f"{name}_token") for each in (one, other)]
        ids = [getattr(each.tokenizer, f"{name}_token_id") for each in (one, other)]
        # A token that only one names decides nothing unless texts are padded with it.
        if ids[0] != ids[1] and (name == "pad" or None not in ids):
            return f"the {name} token is {tokens[0]} (id {ids[0]}) in one, {tokens[1]} (id {ids[1]}) in the other"
    return None


def _vocabularies(one: _Tokenizer, other: _Tokenizer) -> str | None:
    first, second = one.vocabulary, other.vocabulary
    if first == second:
        return None
    different = [token for token in {**first, **second} if first.get(token) != second.get(token)]
    token = min(different, key=lambda token: (min(ids[token] for ids in (first, second) if token in ids), token))
    ids = [str(ids.get(token, "none")) for ids in (first, second)]
    return f"the token {shown(token)} has the id {ids[0]} in one and {ids[1]} in the other"


def _models(one: _Tokenizer, other: _Tokenizer) -> str | None:
    if not one.state or not other.state:
        return None if bool(one.state) == bool(other.state) else "one is written in Python and the other is not"
    first, second = one.state["model"], other.state["model"]
    if first.get("type") == "Unigram" == second.get("type") and first["vocab"] != second["vocab"]:
        scores = dict(map(tuple, second["vocab"]))
        for piece, score in first["vocab"]:
            if not math.isclose(score, scores[piece], rel_tol=1e-6):
                return f"the piece {shown(piece)} has the score {score:g} in one and {scores[piece]:g} in the other"
    key = next((key for key in {**first, **second} if key != "vocab" and first.get(key) != second.get(key)), None)
    return None if key is None else f"their models differ in {key}"


def _steps(one: _Tokenizer, other: _Tokenizer) -> str | None:
    """Compares normalizers and pre-tokenizers, on texts where they are not written alike."""
    if not one.state or not other.state:
        return None
    steps: dict[str, Callable[[Any, str], Any]] = {
        "normalizer": lambda step, text: text if step is None else step.normalize_str(text),
        "pre_tokenizer": lambda step, text: [(text, None)] if step is None else step.pre_tokenize_str(text),
    }
    for name, apply in steps.items():
        if one.state[name] == other.state[name]:
            continue
        for text in (*_PROBES, *_every_character()):
            results = [apply(each.step(name), text) for each in (one, other)]
            if results[0] != results[1]:
                return f"their {name}s make {shown(results[0])} and {shown(results[1])} of {shown(text)}"
    return None


def _texts(one: _Tokenizer, other: _Tokenizer) -> str | None:
    pieces = list(one.vocabulary)
    own = [piece.replace("\u2581", " ").removeprefix("##") for piece in pieces[:: 1 + len(pieces) // _SAMPLE]]
    texts = [*_PROBES, *_every_character(), *(" ".join(own[start : start + 40]) for start in range(0, len(own), 40))]
    results = [each.ids(texts) for each in (one, other)]
    for text, first, second in zip(texts, *results, strict=True):
        if first != second:
            return f"they make {shown(first)} and {shown(second)} of {shown(text)}"
    return None


@cache
def _every_character() -> tuple[str, ...]:
    """Every character that Unicode has assigned to a script, in words of four."""
    return tuple(_words())


def _words() -> Iterator[str]:
    characters = (
        chr(code) for code in range(0x20, _LAST + 1) if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")
    )
    words: list[str] = []
    word = ""
    for character in characters:
        word += character
        if len(word) == 4:
            words.append(word)
            word = ""
        if len(words) == 50:
            yield " ".join(words)
            words = []
    yield " ".join([*words, word])
