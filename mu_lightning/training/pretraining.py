"""Pretrains a small XLM-R from scratch: masked and translation language modeling on all locales of a corpus.

See Devlin et al. 2019 (arXiv:1810.04805) for masked language modeling, and Lample and Conneau 2019 (arXiv:1901.07291)
for translation language modeling, which masks concatenated translations and so aligns the languages.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, Sampler
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForMaskedLM

from mu_lightning.data.batching import BATCHES_PER_BUCKET, seed_of
from mu_lightning.data.corpus import Rows
from mu_lightning.data.encoding import LENGTH_STEP
from mu_lightning.settings import PretrainSettings

# Special token ids of XLM-R (Conneau et al. 2020, arXiv:1911.02116); <mask> is the last token.
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
EPOCH_STEPS = 100
# The number of masked tokens is a multiple of this, to limit the number of matrix shapes (see LENGTH_STEP).
COUNT_STEP = 64


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """Trains a BPE tokenizer (Sennrich et al. 2016, arXiv:1508.07909) with XLM-R's special tokens.

    Unlike BPE, training of unigram models, as used by XLM-R, is not deterministic in the tokenizers library.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Digits()])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size - 1, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=128,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


def new_model(tokenizer: PreTrainedTokenizerBase, settings: PretrainSettings, seed: int) -> XLMRobertaForMaskedLM:
    """Creates a randomly initialized XLM-R."""
    torch.manual_seed(seed)
    config = XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.hidden_size,
        max_position_embeddings=130,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    return XLMRobertaForMaskedLM(config)


class MaskedBatches(Dataset[dict[str, Tensor]]):
    """Dataset whose item i is the batch of training step i: a pure function of seed and i.

    Args:
        rows: locale -> rows; equal ids are translations.
        tokenizer: the tokenizer.
        settings: settings of pretraining.
        seed: random seed.
    """

    def __init__(
        self, rows: Mapping[str, Rows], tokenizer: PreTrainedTokenizerBase, settings: PretrainSettings, seed: int
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.mask_id = int(tokenizer.mask_token_id)
        concepts = {name: place for place, name in enumerate(sorted({i for part in rows.values() for i in part.ids}))}
        # places[locale, concept] is the index of the text, or -1; texts have no special tokens.
        self.places = np.full((len(rows), len(concepts)), -1)
        self.pieces: list[np.ndarray] = []
        for line, part in enumerate(rows.values()):
            encoded = tokenizer(list(part.texts), add_special_tokens=False)["input_ids"]
            for name, tokens in zip(part.ids, encoded, strict=True):
                self.places[line, concepts[name]] = len(self.pieces)
                self.pieces.append(np.asarray(tokens[:60], dtype=np.int64))
        self.present = np.argwhere(self.places >= 0)
        self.lengths = np.array([len(piece) for piece in self.pieces])

    def __len__(self) -> int:
        return EPOCH_STEPS

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        size = self.settings.batch_size
        # Sequences of BATCHES_PER_BUCKET steps are sampled together and sorted by length, to reduce padding.
        stretch, place = divmod(step, BATCHES_PER_BUCKET)
        random = np.random.default_rng(seed_of(self.seed, "sequences", stretch))
        first, second = self._draw(random, size * BATCHES_PER_BUCKET)
        lengths = self.lengths[first] + np.where(second >= 0, self.lengths[second] + 2, 0)
        cut = np.argsort(lengths, kind="stable").reshape(BATCHES_PER_BUCKET, size)[
            random.permutation(BATCHES_PER_BUCKET)[place]
        ]
        return self._masked([self._sequence(first[i], second[i]) for i in cut], seed_of(self.seed, "masks", step))

    def _draw(self, random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        locales, concepts = self.present[random.integers(len(self.present), size=count)].T
        others = self.places[random.integers(len(self.places), size=count), concepts]
        first = self.places[locales, concepts]
        paired = (random.random(count) < self.settings.pairs) & (others >= 0) & (others != first)
        return first, np.where(paired, others, -1)

    def _sequence(self, first: int, second: int) -> np.ndarray:
        # format of XLM-R: <s> A </s> or <s> A </s></s> B </s>
        start, end = np.array([0]), np.array([2])
        pair = (end, self.pieces[second], end) if second >= 0 else ()
        return np.concatenate([start, self.pieces[first], end, *pair])

    def _masked(self, sequences: list[np.ndarray], seed: int) -> dict[str, Tensor]:
        random = np.random.default_rng(seed)
        width = -(-max(map(len, sequences)) // LENGTH_STEP) * LENGTH_STEP
        inputs = np.full((len(sequences), width), 1)
        for line, sequence in zip(inputs, sequences, strict=True):
            line[: len(sequence)] = sequence
        # As in BERT, 80 % of the selected tokens become <mask>, 10 % a random token, 10 % are unchanged.
        eligible = np.flatnonzero(inputs > 2)
        count = max(1, int(self.settings.mask_rate * len(eligible)) // COUNT_STEP) * COUNT_STEP
        chosen = np.sort(random.permutation(eligible)[:count])
        labels = inputs.flat[chosen]
        fate = random.random(len(labels))
        pieces = random.integers(len(SPECIAL), self.mask_id, size=len(labels))
        attention = (inputs != 1).astype(np.int64)
        inputs.flat[chosen] = np.where(fate < 0.8, self.mask_id, np.where(fate < 0.9, pieces, labels))
        return {
            "input_ids": torch.from_numpy(inputs),
            "attention_mask": torch.from_numpy(attention),
            "chosen": torch.from_numpy(chosen),
            "labels": torch.from_numpy(labels),
        }


class StepSampler(Sampler[int]):
    """Yields the global step indices of an epoch, for resuming."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return EPOCH_STEPS

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.epoch * EPOCH_STEPS, (self.epoch + 1) * EPOCH_STEPS))


class Pretraining(LightningModule):
    """Predicts masked tokens; the output layer is computed for masked positions only."""

    def __init__(self, model: XLMRobertaForMaskedLM, settings: PretrainSettings) -> None:
        super().__init__()
        self.model = model
        self.settings = settings

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        hidden = self.model.roberta(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])[0]
        loss = cross_entropy(self.model.lm_head(hidden.flatten(0, 1)[batch["chosen"]]), batch["labels"])
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        steps = self.settings.steps
        warm = max(1, round(0.06 * steps))
        optimizer = AdamW(
            self.parameters(), lr=self.settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        scheduler = LambdaLR(optimizer, lambda step: min((step + 1) / warm, max(0.0, (steps - step) / (steps - warm))))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
