"""Groups of settings for configuration files and the command line, as plain dataclasses.

Importing this module does not import torch. The docstring of a field is its help text.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from mu_lightning.settings.bounds import check_settings
from mu_lightning.utilities.errors import UserError, check_number

EMBEDDED_BASE = Path("checkpoints/xlm-r-cldr")

Vocabulary = Literal["used", "full"]
Execution = Literal["auto", "loop", "stacked"]
Adapter = Literal["none", "lora"]
AdapterMerge = Literal["adapters", "folded"]
ClassWeights = Literal["none", "balanced"]
MomentsDtype = Literal["bfloat16"]
Moments = Literal["average", "keep", "reset"]
Sync = Literal["replace", "pull", "none"]
Follow = Literal["first", "mean", "none"]
Outer = Literal["none", "nesterov"]
Reweight = Literal["none", "target-dev", "source-dev"]
Tune = Literal["sources"]
TUNE: tuple[Tune, ...] = get_args(Tune)
LEAST_TUNED = 3  # sources that `tune` needs: each is left out in turn
LearningRateAfter = Literal["continue", "rewarm"]


@dataclass(frozen=True)
class CorpusSettings:
    """Corpus settings.

    Attributes:
        corpus: ``cldr`` (embedded, 52 locales), ``massive``, ``files`` (local tables in `data_dir`) or ``hub`` (any
            dataset that the library ``datasets`` loads, given by `dataset`).
        data_dir: unpacked MASSIVE release, or for ``files`` a folder with ``<language>.csv``, ``.tsv``, ``.jsonl`` or
            ``.parquet``, or one such file; default for MASSIVE: the Hugging Face hub.
        dataset: for ``hub``: name of the dataset on the hub, or a local folder.
        configs: for ``hub``: configurations of the dataset, each named after its language, such as ``en,fr``.
        text_column: column of texts; null: the first of ``text``, ``utt``, ``utterance``, ``sentence``.
        label_column: column of labels; null: the first of ``label``, ``intent``.
        split_column: column of splits; null: the first of ``split``, ``partition``.
        id_column: column of ids that parallel rows share across languages; null: ``id``.
        language_column: column of languages, for tables with several languages; null: the first of ``language``,
            ``lang``, ``locale``.
        split_seed: random seed for dev and test splits of data without splits.
    """

    corpus: str = "cldr"
    data_dir: Path | None = None
    dataset: str | None = None
    configs: str | list[str] | None = None
    text_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    id_column: str | None = None
    language_column: str | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self, "data")

    def corpus_values(self) -> dict[str, Any]:
        """Returns the corpus fields, without those of subclasses."""
        return {one.name: getattr(self, one.name) for one in fields(CorpusSettings)}


@dataclass(frozen=True)
class DataSettings(CorpusSettings):
    """Data settings.

    Attributes:
        batch_size: utterances per locale and optimizer step, over all devices.
        batch_tokens: instead of `batch_size`: maximum tokens per batch, including padding, over all devices; null: use
            `batch_size`.
        eval_batch_size: batch size for evaluation.
        max_length: maximum number of tokens; longer utterances are truncated.
        limit_train: maximum number of train utterances per locale (the same ids in every locale).
    """

    batch_size: int = 32
    batch_tokens: int | None = None
    eval_batch_size: int = 256
    max_length: int = 64
    limit_train: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("data.batch_tokens", self.batch_tokens, least=self.max_length)  # the longest row fits


@dataclass(frozen=True)
class LoraSettings:
    """Settings of LoRA adapters.

    Attributes:
        r: rank of the adapters.
        alpha: scaling; adapter outputs are scaled by alpha / r.
        dropout: dropout on the inputs of the adapters.
        target_modules: names of the linear modules to adapt; null: peft's default for the architecture (query and value
            for XLM-R).
        save_adapter: also save the adapter of each exported model, in its folder ``adapter``.
    """

    r: int = 8
    alpha: int = 16
    dropout: float = 0.0
    target_modules: list[str] | None = None
    save_adapter: bool = False

    def __post_init__(self) -> None:
        check_settings(self, "model.lora")


@dataclass(frozen=True)
class ModelSettings:
    """Settings of models and optimizer (AdamW with linear warmup and decay).

    Attributes:
        base: pretrained encoder of all members: a folder or a hub id such as ``xlm-roberta-base``.
        learning_rate: peak learning rate; null: 5e-5 for a hidden size of 768 (XLM-R-base), scaled with the inverse
            square of the hidden size, at most 1e-3 (as for the embedded base); ten times as much for adapters.
        vocabulary: ``used``: train word embeddings of tokens in the run's texts only; exported models have all
            embeddings. The weights are the same, with less memory and time. ``full``: train all word embeddings.
        weight_decay: decoupled weight decay of AdamW, for matrices only.
        decay_unused: with ``full``: apply weight decay to and merge word embeddings of unused tokens; false: keep those
            of the base.
        warmup: share of a member's steps for learning rate warmup.
        label_smoothing: label smoothing of the loss.
        class_weights: ``balanced`` weights utterances by inverse label frequency in the member's train rows, with mean
            1.
        patience: stop training a member after so many epochs without improvement of its dev accuracy; merges still
            include it. null: never.
        gradient_checkpointing: recompute activations in the backward pass: less memory, a third slower, same weights.
        adapter: ``lora``: members train adapters and heads on a shared frozen base.
        lora: settings of the adapters.
        execution: ``loop`` trains members one after another with transformers; ``stacked`` trains them in parallel on a
            CPU, without padding, equal up to rounding; ``auto``: stacked if supported (XLM-R on a CPU in 32-true or
            bf16-mixed).
        members_in_memory: number of members on the device, for small GPUs: members train in turns, the others are
            offloaded to CPU memory with their optimizer state. The resulting weights are the same. 0: all members.
        moments_dtype: dtype of AdamW's moments: ``bfloat16`` needs 4 instead of 8 bytes per trained parameter, with
            stochastic rounding; null: dtype of the weights, float32.
    """

    base: str = str(EMBEDDED_BASE)
    learning_rate: float | None = None
    vocabulary: Vocabulary = "used"
    weight_decay: float = 0.01
    decay_unused: bool = False
    warmup: float = 0.06
    label_smoothing: float = 0.0
    class_weights: ClassWeights = "none"
    patience: int | None = None
    gradient_checkpointing: bool = False
    execution: Execution = "auto"
    adapter: Adapter = "none"
    lora: LoraSettings = field(default_factory=LoraSettings)
    members_in_memory: int = 0
    moments_dtype: MomentsDtype | None = None

    def __post_init__(self) -> None:
        check_settings(self, "model")
        if self.decay_unused and self.vocabulary != "full":
            raise UserError(
                "--model.decay_unused needs --model.vocabulary full: otherwise members lack these embeddings"
            )


@dataclass(frozen=True)
class MergeSettings:
    """Settings of merges during training.

    Attributes:
        method: merge method; see ``merge --list-methods``.
        parameters: parameters of the method.
        adapter: whether merges act on adapters and heads, or on the folded weights, which then replace the base.
        schedule: merge schedule: a name such as ``adaptive``, with parameters as in ``every-steps:n=50``, several
            joined by ``+``, or a mapping; see ``schedule --list``. Null: every `frequency` epochs.
        frequency: number of epochs between merges; 0 merges once, at the end. Initial interval of ``adaptive``.
        adaptive: adapt the interval: merge more often while merges help.
        performance_trigger: also merge when a member or the ensemble stops improving.
        convergence_threshold: minimum gain in dev accuracy that counts as an improvement.
        reweight: merge weights are typological (``none``), or recomputed at each merge: from the members' accuracy on
            the target's dev split (``target-dev``), or from their accuracy on their own dev splits times typological
            weights (``source-dev``).
        reweight_temperature: temperature of recomputed weights: below 1 favors better members.
        sync: update of the members after a merge: replace their weights (``replace``), interpolate towards the merged
            weights (``pull``, as PAPA), or no update (``none``).
        pull_keep: for ``pull``: share of its own weights that a member keeps, PAPA's alpha; 0 replaces.
        follow: for several targets: members are updated from the merged model of the ``first`` target, the ``mean`` of
            all merged models, or ``none``.
        moments: optimizer moments after a merge: averaged with the merge weights, kept, or reset.
        learning_rate: learning rate after a merge: ``continue`` the schedule, or ``rewarm`` from 0.
        rewarm: for ``rewarm``: duration as a share of an epoch.
        outer: outer optimizer: ``nesterov`` applies Nesterov momentum to the change between merges, as DiLoCo.
        outer_learning_rate: learning rate of ``nesterov``; 1 without momentum is a plain merge.
        outer_momentum: momentum of ``nesterov``.
        tolerance: roll back merges that lower the accuracy on the target's dev split (from the mean of the members to
            the merged model) by more than this. It uses dev labels of the target; null (default): never.
        keep_merges: number of recent merged models to keep in the run folder, besides the best one; -1: all.
        score_epochs: evaluate the members on the target's dev split after each epoch, for schedules that use it and for
            the command ``schedule``.
    """

    method: str = "linear"
    parameters: dict[str, Any] = field(default_factory=dict)
    adapter: AdapterMerge = "adapters"
    schedule: dict[str, Any] | str | None = None
    frequency: int = 1
    adaptive: bool = False
    performance_trigger: bool = False
    convergence_threshold: float = 1e-4
    reweight: Reweight = "none"
    reweight_temperature: float = 1.0
    sync: Sync = "replace"
    pull_keep: float = 0.5
    follow: Follow = "first"
    moments: Moments = "average"
    learning_rate: LearningRateAfter = "continue"
    rewarm: float = 0.1
    outer: Outer = "none"
    outer_learning_rate: float = 0.7
    outer_momentum: float = 0.9
    tolerance: float | None = None
    keep_merges: int = 1
    score_epochs: bool = True

    def __post_init__(self) -> None:
        check_settings(self, "merge")


@dataclass(frozen=True)
class CheckpointSettings:
    """Settings of checkpoints for exact resuming, besides those at the start and the end.

    Attributes:
        before_merge: also save before each merge; resuming from there repeats the merge.
        every_n_epochs: save after every n epochs; 0: not after epochs.
        every_n_steps: also save after every n optimizer steps; null: not after steps.
        keep: number of recent checkpoints to keep, and of those before merges; 0: all.
    """

    before_merge: bool = False
    every_n_epochs: int = 1
    every_n_steps: int | None = None
    keep: int = 2

    def __post_init__(self) -> None:
        check_settings(self, "checkpoint")


@dataclass(frozen=True)
class GuardSettings:
    """Settings for handling non-finite gradients and out-of-memory errors.

    Attributes:
        non_finite: restore a member with a non-finite gradient from the last checkpoint, with a lower learning rate.
        retries: maximum number of rollbacks of a member in a run.
        rate_factor: factor on a member's learning rate after each rollback.
        out_of_memory: halve the micro-batch size after an out-of-memory error; gradients are the same.
    """

    non_finite: bool = True
    retries: int = 3
    rate_factor: float = 0.5
    out_of_memory: bool = True

    def __post_init__(self) -> None:
        check_settings(self, "guard")
