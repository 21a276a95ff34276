"""Texts for merge methods with data-dependent statistics.

Labels are never used: Fisher information uses labels sampled from the model. Text of the target makes the merge
transductive, which is recorded in its results (``target-unlabelled``).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mu_lightning.approaches.from_text.modes import MODES, Mode
from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.data.encoding import EncodedRows, concatenate
from mu_lightning.data.module import IntentDataModule
from mu_lightning.data.registry import open_corpus
from mu_lightning.merging.folders.folder_plan import FolderPlan
from mu_lightning.models.reading import check_length, without_weights
from mu_lightning.settings import CorpusSettings, DataSettings
from mu_lightning.utilities.errors import UserError, unknown


@dataclass(frozen=True)
class MergeData(CorpusSettings):
    """Texts for statistics.

    Attributes:
        mode: texts of the ``target``, of each source (``sources``), or ``both``.
        target: the target locale.
        examples: number of train utterances per locale; the same ids in every locale.
        max_length: maximum number of tokens.
    """

    mode: Mode = "target"
    target: str | None = None
    examples: int = 100
    max_length: int = DataSettings.max_length

    @property
    def supervision(self) -> str:
        """Data of the target that the merge uses."""
        return "none" if self.mode == "sources" else "target-unlabelled"

    def locales(self, source: str) -> tuple[str, ...]:
        """Locales of the texts for a source."""
        target = () if self.target is None else (self.target,)
        return {"target": target, "sources": (source,), "both": (source, *target)}[self.mode]

    def recorded(self) -> dict[str, Any]:
        """Returns plain values, without local paths."""
        plain = CorpusSettings().corpus_values()
        values = {key: value for key, value in asdict(self).items() if key == "corpus" or value != plain.get(key)}
        return {key: value for key, value in values.items() if key != "data_dir" and value is not None}


class MergeTexts:
    """Tokenized texts of a merge.

    Args:
        data: the texts.
        plan: the merge.

    Raises:
        UserError: an unknown mode, no target where one is needed, a source or target that the corpus does not have, a
            source without a tokenizer, or a number of examples below 1.
    """

    def __init__(self, data: MergeData, plan: FolderPlan) -> None:
        if data.mode not in MODES:
            raise unknown("fisher data mode", str(data.mode), MODES)
        if data.examples < 1:
            raise UserError(f"--num-fisher-examples is {data.examples}: at least 1 utterance is needed")
        if data.mode != "sources" and data.target is None:
            raise UserError(
                f"{plan.job.method.name} on text of the target needs a target: set one, or use text of the sources "
                "(--fisher-data-mode sources, or mode in a recipe's data)"
            )
        self.data, self._sources = data, plan.job.names
        corpus = open_corpus(data)
        for tag in {tag for source in plan.job.names for tag in data.locales(source)}:
            if tag not in corpus.locales:
                raise UserError(
                    f"{plan.job.method.name} needs text of all its sources and targets, but the "
                    f"corpus {corpus.name} has no locale {tag}: use another --corpus or --fisher-data-mode"
                )
        settings = DataSettings(**data.corpus_values(), max_length=data.max_length, limit_train=data.examples)
        folder = next(iter(plan.folders.values())).path
        check_length(data.max_length, without_weights(folder), "the data's max_length")
        self._module = IntentDataModule(corpus, load_tokenizer(folder), settings)
        for source in plan.job.names:
            for tag in data.locales(source):
                if not len(self._module.rows(tag, "train")):
                    raise UserError(f"{plan.job.method.name} needs train texts of {tag}, but {corpus.name} has none")

    def rows(self, sources: Sequence[str]) -> EncodedRows:
        """Returns the texts for sources, without duplicates."""
        tags = dict.fromkeys(tag for source in sources for tag in self.data.locales(source))
        return concatenate({tag: self._module.encoded(tag, "train") for tag in tags})

    def describe(self) -> str:
        """Describes the texts."""
        data, tags = self.data, {tag for source in self._sources for tag in self.data.locales(source)}
        return (
            f"text: {len(self.rows(self._sources))} unlabeled train utterances of {', '.join(sorted(tags))} "
            f"({data.corpus}); supervision: {data.supervision}"
        )
