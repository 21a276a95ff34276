"""Members that train LoRA adapters (Hu et al. 2021, arXiv:2106.09685) on one frozen base, held in memory once."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.vocabulary_subset import Words
from mu_lightning.settings import AdapterMerge, LoraSettings
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class AdaptedClassifier(IntentClassifier):
    """A classifier with LoRA adapters and a head of its own on a frozen base, which others may share.

    Merges act on the adapters and the head as they are, or on the folded weights: those of the ordinary model that
    the adapters make of the base. A merge of folded weights goes into the shared base, and the adapters start again
    from nothing (as in ReLoRA, arXiv:2307.05695): a merge of several adapters has no adapter of their rank.

    Args:
        model: a classifier of transformers with adapters of peft.
        acting_on: what merges act on.
        words: of the base.
    """

    def __init__(self, model: "PeftModel", acting_on: AdapterMerge = "adapters", words: Words | None = None) -> None:
        super().__init__(model, words)  # type: ignore[arg-type]
        self.acting_on = acting_on
        self._first = {name: tensor.clone() for name, tensor in self.adapters().items() if "lora_" in name}

    def adapters(self) -> dict[str, Tensor]:
        """The adapters and the head, by peft's names; not copies."""
        from peft import get_peft_model_state_dict

        model: Any = self.model
        return get_peft_model_state_dict(model, save_embedding_layers=False)

    def merge_state(self) -> dict[str, Tensor]:
        """The adapters and the head, or the folded weights by the ordinary model's names: copies where adapted."""
        return self.adapters() if self.acting_on == "adapters" else self._used(self._folded())

    @torch.no_grad()
    def take(self, state: Mapping[str, Tensor]) -> None:
        """Takes over a state, in place; a folded one changes the base for all that share it."""
        if self.acting_on == "folded":
            self._put(state, self._plain_tensors())
            state = self._first
        own = self.adapters()
        for name, values in state.items():
            own[name].copy_(values)

    def with_merged(self, state: Mapping[str, Tensor]) -> IntentClassifier:
        """An ordinary classifier of a merged state; this one and the base are left as they are."""
        if self.acting_on == "adapters":
            adapted = copy.deepcopy(self, dict(_frozen(self.model)))
            adapted.take(state)
            return adapted.folded()
        result = self.folded()
        result.take(state)
        return result

    def as_merged(self, state: Mapping[str, Tensor]) -> IntentClassifier:
        return self.with_merged(state)

    def plain(self) -> IntentClassifier:
        """The ordinary classifier that the adapters make of the base, as it is exported, as a copy."""
        return self.folded().plain()

    def folded(self) -> IntentClassifier:
        """The classifier without adapters that they make of the base, as a copy, with the words that this one has."""
        model: Any = copy.deepcopy(self.model)
        model.to(self.home.device)  # adapters may rest beside the device that the base is on
        result = IntentClassifier(model.merge_and_unload(), self.words)
        result.home = torch.empty_like(self.home)
        return result

    def save_adapter(self, folder: Path) -> None:
        """Writes the adapters and the head as peft's ``PeftModel.from_pretrained`` reads them."""
        self.model.save_pretrained(str(folder), save_embedding_layers=False)

    def _plain_tensors(self) -> dict[str, Tensor]:
        # Of a wrapped module: its base layer; of the head: the trained copy of it, not the one it was copied from.
        state = self.model.get_base_model().state_dict()  # type: ignore[operator]
        return {
            name.replace(".base_layer.", ".").replace(".modules_to_save.default.", "."): tensor
            for name, tensor in state.items()
            if ".lora_" not in name and ".original_module." not in name
        }

    @torch.no_grad()
    def _folded(self) -> dict[str, Tensor]:
        from peft.tuners.lora import LoraLayer

        state = self._plain_tensors()
        layers: Any = self.model.get_base_model().named_modules()  # type: ignore[operator]
        for name, layer in layers:
            if isinstance(layer, LoraLayer):
                key = f"{name}.weight"
                change: Tensor = layer.get_delta_weight("default")  # type: ignore[attr-defined]
                state[key] = state[key] + change.to(state[key].device)
        return state


def adapted_members(
    base: "PreTrainedModel",
    names: Sequence[str],
    settings: LoraSettings,
    seed: int,
    acting_on: AdapterMerge = "adapters",
    words: Words | None = None,
) -> dict[str, AdaptedClassifier]:
    """Members with equal adapters on one base: its frozen tensors are held once, whatever their number.

    Args:
        base: a classifier; it is copied once.
        names: the members.
        settings: the adapters' size.
        seed: decides the adapters' first values, the same for all members.
        acting_on: what merges act on.
        words: of the base.

    Raises:
        UserError: peft is not installed, cannot make such adapters, or does not find the modules to adapt.
    """
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise UserError("--adapter lora needs peft: pip install 'mu-lightning[lora]'") from error
    inside = base.base_model_prefix
    head = [name for name, part in base.named_children() if name != inside and any(True for _ in part.parameters())]
    try:
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=settings.r,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=settings.target_modules,
            modules_to_save=head,
        )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what peft asks transformers for
            torch.manual_seed(seed)
            model = get_peft_model(copy.deepcopy(base), config)
    except ValueError as error:
        reason = str(error).split(". ")[0]
        if settings.target_modules is None and "target_modules" in reason:  # peft knows none for the architecture
            linear = {
                name.rpartition(".")[2] for name, part in base.named_modules() if isinstance(part, torch.nn.Linear)
            }
            reason = f"name the modules to adapt with --model.lora.target_modules, such as {', '.join(sorted(linear))}"
        raise UserError(f"no adapters of {settings} on a base of type {base.config.model_type}: {reason}") from error
    if words is not None and type(model.get_input_embeddings()) is not torch.nn.Embedding:
        raise UserError(
            "--model.lora.target_modules adapts the word table, all of its rows: choose --model.vocabulary full with "
            "--model.decay_unused true"
        )
    first = AdaptedClassifier(model.train(), acting_on, words)
    return {name: copy.deepcopy(first, dict(_frozen(model))) for name in names}


def _frozen(model: torch.nn.Module) -> dict[int, Tensor]:
    """What a deep copy does not copy: given to it as a memo."""
    return {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
