"""Tiny random bases of other architectures than XLM-R, with tokenizers of their own kinds."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentencepiece import SentencePieceTrainer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BertTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto import CONFIG_MAPPING

from mu_lightning.checkpoints import quiet_transformers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZES = {
    "vocab_size": 300,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
# Architecture -> what its configuration has beside `SIZES`; None in place of what it does not have.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {"type_vocab_size": 2},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    # mDeBERTa: relative positions in buckets, no table of positions
    "deberta-v2": {
        "relative_attention": True,
        "position_biased_input": False,
        "pos_att_type": ["p2c", "c2p"],
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "type_vocab_size": 0,
    },
    "modernbert": {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3, "local_attention": 16},
    "canine": {
        "max_position_embeddings": 128,
        "num_hash_functions": 2,
        "num_hash_buckets": 64,
        "local_transformer_stride": 16,
    },
    "fnet": {},
    "gemma": {"num_key_value_heads": 2, "head_dim": 8},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "mt5": {
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 32,
        "num_layers": 1,
        "num_heads": 2,
        "eos_token_id": 300,
        "vocab_size": 301,
    },
}


def word_pieces(texts: list[str], end: int = 3) -> Tokenizer:
    """BERT's kind of tokenizer, trained on some texts; the end of a text has the id `end`."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    )
    last = "[SEP]" if end == 3 else "[END]"
    made.add_special_tokens([last])
    made.post_processor = processors.TemplateProcessing(f"[CLS] $A {last}", special_tokens=[("[CLS]", 2), (last, end)])
    return made


def special_tokens() -> dict[str, str]:
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return dict(zip(names, SPECIAL, strict=True))


def write_sentencepiece(folder: Path, texts: list[str]) -> None:
    """A tokenizer as mDeBERTa has it on the hub: ``spm.model`` and no ``tokenizer.json``."""
    trained = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=trained,
        vocab_size=250,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        minloglevel=2,
    )
    (folder / "spm.model").write_bytes(trained.getvalue())
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2Tokenizer", "vocab_type": "spm"}')


def save_tokenizer(kind: str, folder: Path, texts: list[str]) -> None:
    tokenizer: PreTrainedTokenizerBase
    if kind == "deberta-v2":
        write_sentencepiece(folder, texts)
        return
    if kind == "canine":
        # As `CanineTokenizer.save_pretrained` writes it, after going through all of Unicode.
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}')
        return
    if kind in ("bert", "distilbert"):
        pieces = word_pieces(texts).get_vocab()
        tokenizer = BertTokenizer(vocab=pieces, do_lower_case=False, model_max_length=64)
    else:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=word_pieces(texts, end=300 if kind == "mt5" else 3),
            model_input_names=["input_ids", "attention_mask"],  # as ModernBERT's: no token types
            **special_tokens(),
        )
    tokenizer.save_pretrained(folder)


def configuration(kind: str) -> PreTrainedConfig:
    made: PreTrainedConfig = CONFIG_MAPPING[kind](**{**SIZES, **ARCHITECTURES[kind]})
    return made


@pytest.fixture(scope="session")
def base_of(tmp_path_factory: pytest.TempPathFactory, corpus: Any) -> Callable[..., Path]:
    """Makes a random base: ``base_of("bert")``."""
    texts = [text for locale in corpus.locales for text in corpus.rows(locale, "train").texts]

    def make(kind: str, **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp("bases") / f"tiny-{kind}"
        folder.mkdir()
        config = configuration(kind)
        for name, value in changes.items():
            setattr(config, name, value)
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            torch.manual_seed(5)
            AutoModel.from_config(config).save_pretrained(folder)
        save_tokenizer(kind, folder, texts)
        return folder

    return make
