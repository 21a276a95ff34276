"""Validated plans of training runs."""

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mu_lightning.checkpoints import load_base, load_tokenizer, model_folder_name, weights_file
from mu_lightning.data.corpus import SPLITS, Corpus
from mu_lightning.data.module import IntentDataModule
from mu_lightning.data.registry import open_corpus
from mu_lightning.languages import not_among
from mu_lightning.locales import locale as known_locale
from mu_lightning.models.adapters import adapted_members
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.joint import JointClassifier
from mu_lightning.models.reading import (
    check_architecture,
    check_length,
    check_tokens,
    longest_texts,
    trial_logits,
    vocabulary_subset_of,
)
from mu_lightning.models.vocabulary_subset import VocabularySubset
from mu_lightning.settings import LEAST_TUNED, RunSettings
from mu_lightning.training.callbacks import check_callbacks
from mu_lightning.training.checkpointing.resuming import BEGUN, resumes
from mu_lightning.training.data_checks import check_rows, check_target, check_target_labels
from mu_lightning.training.members import (
    ALL,
    POOLED,
    check_models,
    excluded_locales,
    models_to_train,
    name_of,
    training_locales,
    unseen_locales,
)
from mu_lightning.training.merging.merge_plan import check_merge
from mu_lightning.training.trainer import bare_trainer, check_limits, check_trainer, with_settled_precision
from mu_lightning.typology.plan import SourcePlan, plan_sources
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import refuse_existing
from mu_lightning.utilities.locks import refuse_locked

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class RunPlan:
    """A validated run.

    Attributes:
        settings: settings of the run.
        corpus: the corpus.
        tokenizer: tokenizer of the base.
        base: initial classifier of all members.
        members: train locales of each member.
        unseen: zero-shot locales of each member, for evaluation.
        targets: source plans of the targets, the primary target first.
        output_dir: the run folder.
        exports: model folder of each member, without a target.
        subset: vocabulary subset of the run; None for the full vocabulary.
    """

    settings: RunSettings
    corpus: Corpus
    tokenizer: "PreTrainedTokenizerBase"
    base: "PreTrainedModel"
    members: dict[str, tuple[str, ...]]
    unseen: dict[str, tuple[str, ...]]
    targets: tuple[SourcePlan, ...]
    output_dir: Path
    exports: dict[str, Path]
    subset: VocabularySubset | None = None

    @property
    def seed(self) -> int:
        """Random seed of the run."""
        return self.settings.seed

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user about the corpus, and targets that cannot be evaluated."""
        data, notes = self.data({}), list(self.corpus.notes)
        for tag in (sources.target for sources in self.targets):
            test = data.rows(tag, "test")
            if not test.labeled:
                lack = "labeled test rows" if len(test) else "test rows"
                notes.append(f"{tag} has no {lack} in {self.corpus.name}: its model will not be evaluated")
            if self.merges and not data.rows(tag, "dev").labeled:
                notes.append(f"{tag} has no labeled dev rows: merges are evaluated on those of its sources")
        return tuple(notes)

    @property
    def sources(self) -> SourcePlan | None:
        """Source plan of the primary target, or None."""
        return self.targets[0] if self.targets else None

    @property
    def target(self) -> str | None:
        """Primary target locale."""
        return self.sources.target if self.sources else None

    @property
    def merges(self) -> bool:
        """Whether members are merged: for a target, unless a joint model is trained."""
        return bool(self.targets) and not self.settings.multilingual

    def data(self, members: dict[str, tuple[str, ...]]) -> IntentDataModule:
        """Creates the data module for members."""
        vocabulary = self.subset.vocabulary if self.subset is not None and self.subset.trimmed else None
        return IntentDataModule(
            self.corpus,
            self.tokenizer,
            self.settings.data,
            members,
            seed=self.seed,
            vocabulary=vocabulary,
            fixed_order=bool(self.settings.trainer.get("overfit_batches")),
        )

    @property
    def vocabulary_used(self) -> str:
        """Describes the vocabulary subset."""
        if self.subset is None or not self.subset.trimmed:
            return "full vocabulary"
        return f"vocabulary used: {len(self.subset.vocabulary):,} of {self.subset.vocabulary.size:,} tokens"

    def merged(self, state: Mapping[str, "Tensor"]) -> IntentClassifier:
        """Creates a classifier with a merged state."""
        return self.joint([POOLED]).member(POOLED).as_merged(state)

    @property
    def start(self) -> dict[str, "Tensor"] | None:
        """Initial merge state of all members, not copied; None with adapters."""
        if self.settings.model.adapter != "none":
            return None
        state: dict[str, Tensor] = IntentClassifier(self.base, self.subset).merge_state()
        return state

    def joint(self, members: Sequence[str]) -> JointClassifier:
        """Creates new members as copies of the base with its head."""
        model, merging = self.settings.model, self.settings.merge
        made: Mapping[str, IntentClassifier]
        if model.adapter == "lora":
            made = adapted_members(self.base, members, model.lora, self.seed, merging.adapter, self.subset)
        else:
            made = {name: IntentClassifier(copy.deepcopy(self.base), self.subset) for name in members}
        return JointClassifier(made, model, self.seed)


def plan_run(settings: RunSettings) -> RunPlan:
    """Validates the settings of a run and resolves defaults; reads all rows of the run.

    Raises:
        UserError: any error that would make the run fail later.
    """
    settings = with_settled_precision(settings)
    wanted = settings.targets
    for tag in (*settings.locales, *wanted):
        if tag != ALL:
            known_locale(tag)
    check_trainer(settings)
    check_callbacks(settings.callbacks)
    corpus = open_corpus(settings.data)
    locales = training_locales(settings, corpus)
    _check_requests(settings, locales, wanted)
    check_models(settings, locales, wanted)
    tokenizer = load_tokenizer(settings.model.base)
    for tag in locales:
        if tag not in corpus.locales:
            raise not_among(f"the corpus {corpus.name}", tag, corpus.locales)
    for tag in wanted:
        check_target(tag, corpus)
    excluded = excluded_locales(settings)
    targets = tuple(
        plan_sources(
            target,
            available=[tag for tag in corpus.locales if tag not in wanted and tag not in excluded],
            locales=locales or None,
            num_languages=settings.num_languages,
            preweight=settings.preweight,
            manual_weights=settings.weights,
            settings=settings.typology,
            seed=settings.seed,
        )
        for target in wanted
    )
    if targets:
        locales = tuple(dict.fromkeys(tag for sources in targets for tag in sources.sources))
        for sources in targets:
            if settings.tune is not None and len(sources.sources) < LEAST_TUNED:
                raise UserError(
                    f"--tune leaves out each source in turn and needs at least {LEAST_TUNED} sources for "
                    f"{sources.target}, not {len(sources.sources)}: {', '.join(sources.sources)}"
                )
            schedule = check_merge(settings.merge, sources)
        if schedule.by_step and 0 < settings.model.members_in_memory < len(locales):
            raise UserError(
                f"the schedule {schedule.name} merges within an epoch, which --members-in-memory does not support: "
                "use a schedule by epochs, or remove --members-in-memory"
            )
    for tag in dict.fromkeys((*locales, *(wanted if settings.compare else ()))):
        check_rows(corpus, tag, test=settings.compare and tag in wanted)
    if targets:
        check_target_labels(settings.merge, corpus, wanted, schedule)
    members = models_to_train(settings, locales)
    unseen = {} if targets else unseen_locales(settings, tuple(members))
    output_dir = settings.output_dir or default_folder(settings, locales, wanted)
    exports = {}
    if not targets:
        names = {name: model_folder_name(settings.model.base, corpus.name, name) for name in members}
        exports = {name: settings.models_dir / folder for name, folder in names.items()}
    refuse_existing_outputs(settings, output_dir, exports.values())
    base = load_base(settings.model.base, corpus.label_names, settings.seed)
    check_architecture(base, settings.model.base)
    check_length(settings.data.max_length, base)
    plan = RunPlan(settings, corpus, tokenizer, base, members, unseen, targets, output_dir, exports)
    subset = _vocabulary_subset(plan)
    plan = replace(plan, subset=subset)
    _check_limits(plan)
    if settings.model.adapter == "lora":
        plan.joint([POOLED])  # raises UserError for unsupported adapters
        if targets and settings.merge.adapter == "folded" and settings.merge.sync == "pull":
            raise UserError(
                "--merge.sync pull leaves each member weights of its own, which a shared base cannot hold: choose "
                "--merge.adapter adapters, or --merge.sync replace"
            )
    return plan


def refuse_existing_outputs(settings: RunSettings, output_dir: Path, exports: Iterable[Path]) -> None:
    """Raises UserError for output folders that exist or are in use by another process."""
    if not is_first_process():
        return
    if resumes(settings, output_dir):
        refuse_locked(output_dir)
        return
    for folder in exports:
        refuse_existing(folder, "a model")
    unfinished = (output_dir / BEGUN).is_file() and not (output_dir / "results.json").exists()
    refuse_existing(output_dir, "an unfinished run (use --resume to continue it)" if unfinished else "a result")


def is_first_process() -> bool:
    """Whether this is the main process, which starts the other processes of a DDP run."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _check_requests(settings: RunSettings, locales: tuple[str, ...], targets: tuple[str, ...]) -> None:
    if not locales and not targets:
        raise UserError(
            "nothing to train: set --locales, or --target-lang to select sources by typology, or --exclude to "
            "train on all other locales"
        )
    among = [tag for tag in targets if tag in locales]
    if among and len(targets) > 1:
        raise UserError(
            f"the target {among[0]} is among the sources: its labels would leak through members that follow a merged "
            "model"
        )
    if settings.compare and not targets:
        raise UserError("--compare needs a target: give --target-lang")
    if settings.tune is not None and not settings.compare:
        raise UserError("--tune is of the merge that --compare adds: add --compare, or use the command merge")
    if settings.enable_wandb and not _wandb_can_log():
        raise UserError(
            "--enable-wandb: no W&B credentials found; run 'wandb login', or set WANDB_MODE=offline to log locally"
        )


def _wandb_can_log() -> bool:
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun") or os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC") or Path.home() / ".netrc")
    return netrc.is_file() and "wandb" in netrc.read_text(encoding="utf-8", errors="replace")


def default_folder(settings: RunSettings, locales: tuple[str, ...], targets: tuple[str, ...] = ()) -> Path:
    """Default run folder."""
    what = name_of(targets) or (locales[0] if len(locales) == 1 else f"{len(locales)}-locales")
    if settings.all_leave_one_out:
        what += "_leave-one-out"
    elif settings.multilingual:
        what += f"_{POOLED}"
    return Path("runs") / f"{Path(settings.model.base).name}_{settings.data.corpus}_{what}"


def _check_limits(plan: RunPlan) -> None:
    """Raises UserError for limits of the Trainer that the data of the run cannot fulfill."""
    limits = ("limit_train_batches", "limit_val_batches", "overfit_batches", "val_check_interval")
    if any(plan.settings.trainer.get(name) is not None for name in limits):
        data = plan.data(plan.members)
        dev_batches = {tag: len(loader) for tag, loader in data.eval_loaders("dev").items()}
        check_limits(bare_trainer(plan.settings.trainer), data.member_batches(), dev_batches)


def _vocabulary_subset(plan: RunPlan) -> VocabularySubset | None:
    """Reads all rows of the run and creates the vocabulary subset of the base."""
    data = plan.data(plan.members)
    targets = {sources.target for sources in plan.targets}
    learned = {tag for locales in plan.members.values() for tag in locales} | targets
    unseen = {tag for locales in plan.unseen.values() for tag in locales} - learned
    for tag in sorted(learned | unseen):
        for split in SPLITS:
            data.rows(tag, split)
    settings = plan.settings.model
    # Include train rows of targets: a resumed run may be compared with a model trained on target labels.
    read = [(tag, split) for split in SPLITS for tag in sorted(learned if split == "train" else learned | unseen)]
    parts = [data.encoded(*one) for one in read if len(data.rows(*one))]  # targets may have no rows
    check_tokens(parts, plan.tokenizer, plan.base)
    trial_logits(plan.base, longest_texts(parts), str(settings.base))
    if settings.decay_unused:
        return None
    trimmed = settings.vocabulary == "used"
    return vocabulary_subset_of(plan.base, parts, plan.tokenizer, trimmed, weights_file(settings.base))
