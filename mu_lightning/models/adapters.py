"""LoRA adapters (Hu et al. 2021, arXiv:2106.09685) for several members on one shared, frozen base."""

import copy
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.vocabulary_subset import VocabularySubset
from mu_lightning.settings import AdapterMerge, LoraSettings
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class AdaptedClassifier(IntentClassifier):
    """A classifier with LoRA adapters and a head on a frozen base that members can share.

    Merges act on the adapters and the head, or on the folded weights (base plus adapters). A merge of folded weights
    replaces the shared base and resets the adapters (as in ReLoRA, arXiv:2307.05695), because a merge of adapters is
    not of their rank in general.

    Args:
        model: a classifier of transformers with peft adapters.
        acting_on: whether merges act on adapters or folded weights.
        subset: vocabulary subset of the base.
    """

    def __init__(
        self, model: "PeftModel", acting_on: AdapterMerge = "adapters", subset: VocabularySubset | None = None
    ) -> None:
        super().__init__(model, subset)  # type: ignore[arg-type]
        self.acting_on = acting_on
        self._first = {name: tensor.clone() for name, tensor in self.adapters().items() if "lora_" in name}

    def adapters(self) -> dict[str, Tensor]:
        """Returns adapters and head by peft's names, as references."""
        from peft import get_peft_model_state_dict

        model: Any = self.model
        return get_peft_model_state_dict(model, save_embedding_layers=False)

    def merge_state(self) -> dict[str, Tensor]:
        """Returns adapters and head, or the folded weights (copies for adapted modules)."""
        return self.adapters() if self.acting_on == "adapters" else self._used(self._folded())

    @torch.no_grad()
    def take(self, state: Mapping[str, Tensor]) -> None:
        """Copies a merge state into the model, in place; folded weights change the shared base."""
        if self.acting_on == "folded":
            self._put(state, self._plain_tensors())
            state = self._first
        own = self.adapters()
        for name, values in state.items():
            own[name].copy_(values)

    def with_merged(self, state: Mapping[str, Tensor]) -> IntentClassifier:
        """Returns a classifier without adapters with a merged state; this one and the base are unchanged."""
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
        """Returns a copy with folded adapters, for export."""
        return self.folded().plain()

    def folded(self) -> IntentClassifier:
        """Returns a copy with folded adapters and the same vocabulary subset."""
        model: Any = copy.deepcopy(self.model)
        model.to(self.device_marker.device)  # adapters may be offloaded
        result = IntentClassifier(model.merge_and_unload(), self.subset)
        result.device_marker = torch.empty_like(self.device_marker)
        return result

    def save_adapter(self, folder: Path) -> None:
        """Saves adapters and head in the format of peft's ``PeftModel.from_pretrained``."""
        self.model.save_pretrained(str(folder), save_embedding_layers=False)

    def _plain_tensors(self) -> dict[str, Tensor]:
        # Base layers of wrapped modules, and the trained copy of the head.
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
    subset: VocabularySubset | None = None,
) -> dict[str, AdaptedClassifier]:
    """Creates members with equal adapters on one base; its frozen tensors are shared.

    Args:
        base: a classifier; it is copied once.
        names: names of the members.
        settings: settings of the adapters.
        seed: random seed of the initial adapters, which are equal for all members.
        acting_on: whether merges act on adapters or folded weights.
        subset: vocabulary subset of the base.

    Raises:
        UserError: peft is not installed, or does not support the settings or the base.
    """
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise UserError("--adapter lora needs peft: pip install 'mu-lightning[lora]'") from error
    size = getattr(base.config, "hidden_size", None)
    if size is not None and settings.r > size:
        raise UserError(f"model.lora.r is {settings.r}: expected a rank of at most {size}, the base's hidden size")
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
            warnings.simplefilter("ignore", FutureWarning)  # from peft's calls of transformers
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
    if subset is not None and type(model.get_input_embeddings()) is not torch.nn.Embedding:
        raise UserError(
            "--model.lora.target_modules adapts the word embeddings: use --model.vocabulary full with "
            "--model.decay_unused true"
        )
    first = AdaptedClassifier(model.train(), acting_on, subset)
    return {name: copy.deepcopy(first, dict(_frozen(model))) for name in names}


def _frozen(model: torch.nn.Module) -> dict[int, Tensor]:
    """Frozen parameters as a memo for ``deepcopy``, so that they are shared."""
    return {id(parameter): parameter for parameter in model.parameters() if not parameter.requires_grad}
