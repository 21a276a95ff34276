"""The settings of `pretrain`."""

from dataclasses import dataclass

from mu_lightning.settings.bounds import check_settings
from mu_lightning.utilities.errors import UserError

MAX_PARAMETERS = 2_000_000_000


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of pretraining.

    Attributes:
        vocab_size: vocabulary size of the tokenizer.
        layers: number of layers.
        hidden_size: hidden size; the feed-forward size is four times as large.
        heads: number of attention heads.
        steps: number of optimizer steps.
        batch_size: sequences per step.
        learning_rate: peak learning rate, after warmup over 6 % of the steps.
        pairs: share of sequences that are translation pairs.
        mask_rate: share of the tokens to predict.
    """

    vocab_size: int = 12000
    layers: int = 4
    hidden_size: int = 128
    heads: int = 4
    steps: int = 4000
    batch_size: int = 256
    learning_rate: float = 2e-3
    pairs: float = 0.7
    mask_rate: float = 0.2

    def __post_init__(self) -> None:
        check_settings(self, "size")
        if self.hidden_size % self.heads:
            raise UserError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        # embeddings, and four matrices of attention and two of the feed-forward layers, which are four times as wide
        parameters = self.hidden_size * (self.vocab_size + 12 * self.layers * self.hidden_size)
        if parameters > MAX_PARAMETERS:
            raise UserError(
                f"size: {parameters / 1e9:,.1f} billion parameters: expected at most {MAX_PARAMETERS / 1e9:g} billion"
            )
