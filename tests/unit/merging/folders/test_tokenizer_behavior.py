"""Tokenizers are the same if every text gets the same ids, however their files are written."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentencepiece import SentencePieceTrainer
from transformers import AutoTokenizer, BertConfig, XLMRobertaConfig
from transformers.convert_slow_tokenizer import XLMRobertaConverter

from mu_lightning.data.cldr import CldrCorpus
from mu_lightning.merging.folders.same_tokenizer import check_same_tokenizer
from mu_lightning.merging.folders.tokenizer_behavior import tokenizer_difference
from mu_lightning.merging.folders.tokenizer_files import copy_tokenizer
from mu_lightning.utilities.errors import UserError

Change = Callable[[dict[str, Any]], None]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"


def older(node: Any) -> Any:
    """The same as the tokenizers library before 0.19 wrote it."""
    if isinstance(node, dict):
        if node.get("type") == "Metaspace":
            return {"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True}
        return {key: older(value) for key, value in node.items()}
    return [older(value) for value in node] if isinstance(node, list) else node


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One tokenizer as the hub has XLM-R's (with and without tokenizer.json), and as today's library saves it."""
    texts = [text for tag in ("nl-NL", "ja-JP", "ar-SA") for text in CldrCorpus().rows(tag, "train").texts]
    trained = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=trained,
        vocab_size=1200,
        character_coverage=0.9995,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=2,
    )
    root = tmp_path_factory.mktemp("tokenizers")

    def folder(name: str) -> Path:
        XLMRobertaConfig().save_pretrained(root / name)
        (root / name / "tokenizer_config.json").write_text('{"model_max_length": 512}')
        return root / name

    pieces = folder("pieces")
    (pieces / "sentencepiece.bpe.model").write_bytes(trained.getvalue())

    class Original:
        vocab_file = str(pieces / "sentencepiece.bpe.model")

        def convert_tokens_to_ids(self, token: str) -> int:
            return {"<s>": 0, "</s>": 2}[token]

    state = json.loads(XLMRobertaConverter(Original()).converted().to_str())
    hub = folder("hub")
    (hub / "sentencepiece.bpe.model").write_bytes(trained.getvalue())
    (hub / "tokenizer.json").write_text(json.dumps({key: older(value) for key, value in state.items()}))
    saved = folder("saved")
    AutoTokenizer.from_pretrained(hub).save_pretrained(saved)
    return {"pieces": pieces, "hub": hub, "saved": saved}


@pytest.fixture
def changed(forms: dict[str, Path], tmp_path: Path) -> Callable[[Change], Path]:
    """Makes a folder with today's form of the tokenizer, changed in its tokenizer.json."""

    def make(change: Change) -> Path:
        folder = Path(shutil.copytree(forms["saved"], tmp_path / "changed"))
        content = json.loads((folder / "tokenizer.json").read_text())
        change(content)
        (folder / "tokenizer.json").write_text(json.dumps(content))
        return folder

    return make


@pytest.mark.parametrize(("one", "other"), [("hub", "saved"), ("pieces", "saved"), ("pieces", "hub")])
def test_one_tokenizer_in_two_forms_is_the_same(one: str, other: str, forms: dict[str, Path]) -> None:
    assert (forms[one] / "tokenizer_config.json").is_file()
    for pair in ((one, other), (other, one)):
        check_same_tokenizer("a", forms[pair[0]], "b", forms[pair[1]])
        check_same_tokenizer("a", forms[pair[0]], "the base", forms[pair[1]], base=True)


def _score(content: dict[str, Any]) -> None:
    content["model"]["vocab"][100][1] *= 1.01


def _pieces(content: dict[str, Any]) -> None:
    vocabulary = content["model"]["vocab"]
    vocabulary[100], vocabulary[101] = vocabulary[101], vocabulary[100]


def _normalizer(content: dict[str, Any]) -> None:
    content["normalizer"] = None


def _more(content: dict[str, Any]) -> None:
    token = {**content["added_tokens"][0], "id": len(content["model"]["vocab"]), "content": "<extra>"}
    content["added_tokens"].append(token)


DIFFERENCES: dict[str, tuple[Change, str]] = {
    "a score": (_score, "has the score"),
    "two pieces": (_pieces, "has the id 10[01] in one and 10[01] in the other"),
    "no normalizer": (_normalizer, "their normalizers make .* and .* of "),
    "a token more": (_more, "'<extra>' has the id none in one and"),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_a_real_difference_is_named(what: str, forms: dict[str, Path], changed: Callable[[Change], Path]) -> None:
    change, expected = DIFFERENCES[what]
    with pytest.raises(UserError, match=rf"the tokenizers of a and b differ: .*{expected}"):
        check_same_tokenizer("a", forms["hub"], "b", changed(change))


def test_steps_that_are_written_otherwise_and_do_the_same_are_the_same(forms: dict[str, Path], tmp_path: Path) -> None:
    """A class that takes tokenizer.json as it is, so that its steps reach the comparison."""

    def make(name: str, **changes: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        content = json.loads((forms["saved"] / "tokenizer.json").read_text()) | changes
        (folder / "tokenizer.json").write_text(json.dumps(content))
        (folder / "tokenizer_config.json").write_text(
            '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}'
        )
        return folder

    plain = make("plain")
    one = json.loads((plain / "tokenizer.json").read_text())
    wrapped = make(
        "wrapped",
        normalizer={"type": "Sequence", "normalizers": [one["normalizer"]]},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [one["pre_tokenizer"]]},
        decoder=None,
    )
    assert tokenizer_difference(plain, wrapped) is None
    assert tokenizer_difference(plain, forms["hub"]) is None
    lower = {"type": "Sequence", "normalizers": [one["normalizer"], {"type": "Lowercase"}]}
    assert "their normalizers make" in str(tokenizer_difference(plain, make("lower", normalizer=lower)))
    never = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": True}
    assert "their pre_tokenizers make" in str(tokenizer_difference(plain, make("never", pre_tokenizer=never)))
    assert "they make" in str(tokenizer_difference(plain, make("bare", post_processor=None)))


def test_other_padding_is_a_difference(forms: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(forms["saved"], tmp_path / "other"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": "<unk>"}))
    assert (
        tokenizer_difference(forms["saved"], folder)
        == "the pad token is <pad> (id 1) in one, <unk> (id 3) in the other"
    )


def test_tokenizers_written_in_python_are_compared_by_their_pieces(tmp_path: Path, forms: dict[str, Path]) -> None:
    for name, kind, more in (
        ("a", "ByT5Tokenizer", {}),
        ("b", "ByT5Tokenizer", {}),
        ("c", "ByT5Tokenizer", {"extra_ids": 7}),
    ):
        BertConfig().save_pretrained(tmp_path / name)
        (tmp_path / name / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": kind, **more}))
    assert tokenizer_difference(tmp_path / "a", tmp_path / "b") is None
    assert tokenizer_difference(tmp_path / "a", tmp_path / "c") is not None
    assert tokenizer_difference(tmp_path / "a", forms["hub"]) is not None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (POINTER, "tokenizer.json is a Git LFS pointer"),
        ("{", "tokenizer.json is not valid JSON"),
        ('{"model": {"type": "SuperBPE"}}', "has a model of the type 'SuperBPE', which is none of BPE, Unigram"),
        ('{"version": "1.0"}', "tokenizer.json"),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_named(
    content: str, expected: str, forms: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(forms["saved"], tmp_path / "broken"))
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=expected):
        check_same_tokenizer("a", forms["saved"], "b", folder)


def test_only_a_base_may_have_none(forms: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    check_same_tokenizer("a", forms["saved"], "the base", tmp_path / "none", base=True)
    check_same_tokenizer("a", tmp_path / "none", "b", tmp_path / "none")
    with pytest.raises(UserError, match="the tokenizers cannot be compared: a has one, b does not"):
        check_same_tokenizer("a", forms["saved"], "b", tmp_path / "none")


def test_a_copy_neither_truncates_nor_pads(
    forms: dict[str, Path], changed: Callable[[Change], Path], tmp_path: Path
) -> None:
    def cut(content: dict[str, Any]) -> None:
        content["truncation"] = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
        content["padding"] = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1}
        content["padding"] |= {"pad_type_id": 0, "pad_token": "<pad>"}

    folder = changed(cut)
    check_same_tokenizer("a", forms["saved"], "b", folder)
    (tmp_path / "copy").mkdir()
    copy_tokenizer(folder, tmp_path / "copy")
    content = json.loads((tmp_path / "copy" / "tokenizer.json").read_text())
    assert (content["truncation"], content["padding"]) == (None, None)
    check_same_tokenizer("a", forms["saved"], "b", tmp_path / "copy")
    (tmp_path / "plain").mkdir()
    copy_tokenizer(forms["saved"], tmp_path / "plain")
    assert (tmp_path / "plain" / "tokenizer.json").read_bytes() == (forms["saved"] / "tokenizer.json").read_bytes()
