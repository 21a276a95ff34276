"""The groups of settings that a configuration file and the command line have, as plain dataclasses.

Nothing heavy is imported here, so that help and validation cost no import of torch. A field's docstring line is its
help.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

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
LearningRateAfter = Literal["continue", "rewarm"]


@dataclass(frozen=True)
class CorpusSettings:
    """Where labeled text comes from.

    Attributes:
        corpus: ``cldr`` (embedded, 52 locales), ``massive``, ``files`` (your own tables in `data_dir`) or ``hub`` (any
            data set that the library ``datasets`` loads, named by `dataset`).
        data_dir: an unpacked MASSIVE release, or for ``files`` a folder of ``<language>.csv``, ``.tsv``, ``.jsonl`` or
            ``.parquet``, or one such file; without one MASSIVE is read from the Hugging Face hub.
        dataset: for ``hub``: the data set's name on the hub, or a local folder of one.
        configs: for ``hub``: the data set's configurations, each named after its language, such as ``en,fr``.
        text_column: the column of texts; null: the first of ``text``, ``utt``, ``utterance``, ``sentence``.
        label_column: the column of labels; null: the first of ``label``, ``intent``.
        split_column: the column that names each row's split; null: the first of ``split``, ``partition``.
        id_column: the column of ids that parallel rows share across languages; null: ``id``.
        language_column: the column of languages, where one table holds several; null: the first of ``language``,
            ``lang``, ``locale``.
        split_seed: decides which rows are drawn for dev and test where the data name no splits.
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
        check_number("data.split_seed", self.split_seed, least=0)

    def corpus_values(self) -> dict[str, Any]:
        """The fields that name a corpus, without those that a subclass adds."""
        return {one.name: getattr(self, one.name) for one in fields(CorpusSettings)}


@dataclass(frozen=True)
class DataSettings(CorpusSettings):
    """What the members read.

    Attributes:
        batch_size: utterances of one locale in one optimizer step, over all devices together.
        batch_tokens: in place of `batch_size`: as many utterances of similar length as fit into so many tokens, padding
            included, over all devices together; null: by `batch_size`.
        eval_batch_size: utterances in one batch of an evaluation.
        max_length: tokens after which an utterance is cut.
        limit_train: at most so many train utterances a locale (a fixed choice of ids, the same in every locale).
    """

    batch_size: int = 32
    batch_tokens: int | None = None
    eval_batch_size: int = 256
    max_length: int = 64
    limit_train: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch_size", "eval_batch_size", "limit_train"):
            check_number(f"data.{name}", getattr(self, name), least=1)
        check_number("data.max_length", self.max_length, least=3)  # two special tokens and one of the text
        check_number("data.batch_tokens", self.batch_tokens, least=self.max_length)  # the longest row fits


@dataclass(frozen=True)
class LoraSettings:
    """The size of LoRA's adapters.

    Attributes:
        r: rank of each adapter.
        alpha: an adapter's product is scaled by alpha / r.
        dropout: on what goes into the adapters.
        target_modules: the linear modules that are adapted, by name; null: peft's choice for the architecture (query
            and value of XLM-R's attention).
        save_adapter: write each exported model's adapter beside it too, into its folder ``adapter``.
    """

    r: int = 8
    alpha: int = 16
    dropout: float = 0.0
    target_modules: list[str] | None = None
    save_adapter: bool = False


@dataclass(frozen=True)
class ModelSettings:
    """What a member is and how it learns (AdamW with linear warm-up and decay).

    Attributes:
        base: the encoder that every member starts from: a folder or a hub id such as ``xlm-roberta-base``.
        learning_rate: peak learning rate of every member; null: 5e-5 at XLM-R-base's width of 768, growing with the
            inverse square of the encoder's width, at most 1e-3 (so 1e-3 for the embedded base); ten times that for
            adapters.
        vocabulary: ``used``: members hold the word embeddings of tokens in the run's texts, and exports get
            the others back from the base: the same weights with less memory, faster. ``full``: they hold all.
        weight_decay: AdamW's decoupled weight decay, on matrices only.
        decay_unused: under ``full``: word embeddings of unused tokens decay and are merged like
            the others; false: they stay the base's.
        warmup: share of a member's steps in which its learning rate rises from 0.
        label_smoothing: probability mass that the loss spreads over the other labels.
        class_weights: ``balanced`` weighs each utterance by the inverse of its label's frequency among the member's
            train rows, with mean 1.
        patience: a member stops to train when its own dev accuracy has not risen for so many epochs; it stays in the
            merges. null: never.
        gradient_checkpointing: compute activations again in the backward pass instead of keeping them: the same weights
            with less memory, a third slower.
        adapter: ``lora``: members share the frozen base in memory and train adapters on it, and heads.
        lora: the adapters' size.
        execution: ``loop`` computes one member after another as transformers does; ``stacked`` all of them in one pass
            without padding, on a CPU, equal but for rounding; ``auto``: stacked where it can be, which is XLM-R's
            architecture on a CPU, in 32-true or bf16-mixed.
        members_in_memory: members on the device at a time, for a small GPU: between merges they take turns, moments
            with them, and the others rest in ordinary memory. The weights are the same in the end. 0: all at once.
        moments_dtype: in what AdamW's moments are kept: ``bfloat16`` takes 4 bytes for each trained parameter in place
            of 8, and rounds at random; null: in the weights' own dtype, float32.
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
        check_number("model.learning_rate", self.learning_rate, above=0)
        check_number("model.weight_decay", self.weight_decay, least=0)
        check_number("model.warmup", self.warmup, least=0, most=1)
        if self.decay_unused and self.vocabulary != "full":
            raise UserError(
                "--model.decay_unused needs --model.vocabulary full: rows that members do not hold cannot decay"
            )
        check_number("model.label_smoothing", self.label_smoothing, least=0, below=1)


@dataclass(frozen=True)
class MergeSettings:
    """When and how the members are merged while they train, and what they do afterwards.

    Attributes:
        method: the merge method; ``merge --list-methods`` describes each.
        parameters: the method's own parameters.
        adapter: what a merge of members with adapters acts on: the adapters and heads as they are, or the folded
            weights, of which the base is then made anew.
        schedule: when to merge: a name such as ``adaptive``, with parameters as in ``every-steps:n=50``, several joined
            by ``+``, or a mapping; ``schedule --list`` describes them. Null: every `frequency` epochs.
        frequency: merge after every so many epochs; 0 merges only once, at the end. ``adaptive`` starts from it.
        adaptive: merge more often while merges help and less often while they don't.
        performance_trigger: merge also when a member or the ensemble stopped improving.
        convergence_threshold: gains of dev accuracy below it count as none.
        reweight: merge weights stay as typology has them (``none``), or are re-read at each merge: from the members'
            accuracy on the target's dev split (``target-dev``), or their accuracy on their own times typology's
            weights (``source-dev``).
        reweight_temperature: of re-read weights: below 1 better members weigh more, above 1 less.
        sync: what members do after a merge: take the merged weights (``replace``), move towards them (``pull``, as
            PAPA does), or keep their own (``none``).
        pull_keep: of ``pull``: the share of its own weights that a member keeps, PAPA's alpha; 0 replaces.
        follow: of several targets: members follow the ``first`` target's merged model, the ``mean`` of them all, or
            ``none``.
        moments: what becomes of the optimizer's moments after a merge: averaged with the merge weights, kept, or reset.
        learning_rate: after a merge, ``continue`` as planned, or ``rewarm``: rise again from 0 to the planned rate.
        rewarm: of ``rewarm``: over this share of an epoch.
        outer: ``nesterov`` takes the step from one merge to the next by Nesterov momentum, as DiLoCo does.
        outer_learning_rate: of ``nesterov``; 1 without momentum is a plain merge.
        outer_momentum: of ``nesterov``.
        tolerance: a merge is rolled back where it lowers the accuracy on the target's dev split (from the members' mean
            to the merged model) by more than this; it looks at the target's dev labels, so null (never) is the default.
        keep_merges: the merged models of so many last merges are kept in the run's folder, beside the best; -1: all.
        score_epochs: score the members on the target's dev split after each epoch, merge or not, for schedules that
            read it and for the command ``schedule``.
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
        for name in ("pull_keep", "outer_momentum"):
            check_number(f"merge.{name}", getattr(self, name), least=0, most=1)
        for name in ("rewarm", "outer_learning_rate", "convergence_threshold"):
            check_number(f"merge.{name}", getattr(self, name), least=0)
        check_number("merge.reweight_temperature", self.reweight_temperature, above=0)
        check_number("merge.tolerance", self.tolerance)
        check_number("merge.keep_merges", self.keep_merges, least=-1)


@dataclass(frozen=True)
class CheckpointSettings:
    """When a run saves what it needs to go on bit for bit, beside its first and its last state.

    Attributes:
        before_merge: also before each merge; going on from there makes the merge again.
        every_n_epochs: after every so many epochs; 0: not at epochs.
        every_n_steps: also after every so many optimizer steps within an epoch; null: not at steps.
        keep: the last so many are kept, and the last so many before merges; 0: all.
    """

    before_merge: bool = False
    every_n_epochs: int = 1
    every_n_steps: int | None = None
    keep: int = 2

    def __post_init__(self) -> None:
        check_number("checkpoint.every_n_epochs", self.every_n_epochs, least=0)
        check_number("checkpoint.every_n_steps", self.every_n_steps, least=1)
        check_number("checkpoint.keep", self.keep, least=0)


@dataclass(frozen=True)
class GuardSettings:
    """What happens when training goes wrong in one member, or when a GPU's memory does not suffice.

    Attributes:
        non_finite: roll a member whose gradient is not finite back to the last checkpoint, with a lower learning rate.
        retries: how often in a run a member is rolled back before the run stops.
        rate_factor: the factor on a member's learning rate with each roll-back.
        out_of_memory: halve the micro-batch where a GPU's memory does not suffice, with the same gradients.
    """

    non_finite: bool = True
    retries: int = 3
    rate_factor: float = 0.5
    out_of_memory: bool = True

    def __post_init__(self) -> None:
        check_number("guard.retries", self.retries, least=0)
        check_number("guard.rate_factor", self.rate_factor, above=0, most=1)


@dataclass(frozen=True)
class PretrainSettings:
    """Size of the model and length of its training.

    Attributes:
        vocab_size: vocabulary size of the tokenizer.
        layers: Transformer layers.
        hidden_size: width of the encoder; the feed-forward width is four times it.
        heads: attention heads.
        steps: optimizer steps.
        batch_size: sequences in a step.
        learning_rate: peak of AdamW's learning rate, after a warm-up over 6 % of the steps.
        pairs: share of the sequences that are pairs of translations.
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
        for name in ("vocab_size", "layers", "hidden_size", "heads", "steps", "batch_size"):
            check_number(name, getattr(self, name), least=1)
        if self.hidden_size % self.heads:
            raise UserError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("pairs", self.pairs, least=0, most=1)
        check_number("mask_rate", self.mask_rate, above=0, below=1)
