"""A trained classifier as an ONNX file with its tokenizer, for programs that have neither PyTorch nor transformers."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mu_lightning.checkpoints import load_classifier, load_tokenizer, quiet_transformers
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_folder

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUTS = ("input_ids", "attention_mask")
TOLERANCE = 1e-4  # largest difference of a logit from PyTorch's
# A protocol-buffer file holds less than 2 GiB: weights of more go into a file beside it.
_ONE_FILE = 1_500_000_000
_TRIED = ("a", "a somewhat longer text, in one batch with a short one", "ja", "一 二 三")


class _Logits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def export_onnx(source: str | Path, folder: Path, int8: bool = False) -> float:
    """Writes ``model.onnx``, ``config.json`` and the tokenizer; batch and length are free.

    The file is run with ONNX Runtime on a few texts and compared with PyTorch before the folder gets its name.

    Args:
        source: a model folder or hub id.
        folder: where to write.
        int8: also write ``model_int8.onnx``, whose weights are quantized: smaller, and not the same logits.

    Returns:
        The largest difference of a logit from PyTorch's, at most `TOLERANCE`.

    Raises:
        UserError: a package is missing, `folder` holds something, the source is no classifier, or the architecture
            cannot be exported.
    """
    lacking = [name for name in PACKAGES if find_spec(name) is None]
    if lacking:
        raise UserError(f"ONNX needs {', '.join(lacking)}: pip install 'mu-lightning[onnx]'")
    model, tokenizer = load_classifier(source).eval().requires_grad_(False), load_tokenizer(source)
    batch = tokenizer(list(_TRIED), padding=True, return_tensors="pt")
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    size = sum(one.nbytes for one in model.parameters())
    with atomic_folder(folder, "an exported model") as temporary:
        path = temporary / "model.onnx"
        try:
            with warnings.catch_warnings(), quiet_transformers():
                warnings.simplefilter("ignore")  # of PyTorch about itself
                torch.onnx.export(
                    _Logits(model),
                    tuple(batch[name] for name in INPUTS),
                    path,
                    input_names=INPUTS,
                    output_names=["logits"],
                    dynamic_shapes=dict.fromkeys(INPUTS, free),
                    external_data=size > _ONE_FILE,
                    dynamo=True,
                    verbose=False,
                )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            raise UserError(f"{source} cannot be exported to ONNX: {str(error).splitlines()[0]}") from error
        difference = _difference(path, model, tokenizer)
        if not difference <= TOLERANCE:
            raise UserError(f"{source}: the ONNX file's logits differ from PyTorch's by {difference:.1e}: not exported")
        if int8:
            from onnxruntime.quantization import QuantType, quantize_dynamic

            quantize_dynamic(path, temporary / "model_int8.onnx", weight_type=QuantType.QInt8)
        model.config.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return difference


def _difference(path: Path, model: nn.Module, tokenizer: Any) -> float:
    """The largest difference of a logit, over batches of other sizes than the one that was traced."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for texts in (_TRIED[:1], _TRIED[:2], (*_TRIED, *_TRIED)):
        batch = tokenizer(list(texts), padding=True, return_tensors="pt")
        with torch.inference_mode():
            expected = model(**{name: batch[name] for name in INPUTS}).logits.numpy()
        (found,) = session.run(None, {name: batch[name].numpy() for name in INPUTS})
        largest = max(largest, float(np.abs(found - expected).max()))
    return largest
