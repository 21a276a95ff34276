"""Resolves the precision `auto`."""

from typing import Any

from mu_lightning.utilities.errors import UserError

FULL, MIXED = "32-true", "bf16-mixed"
HALF = ("16", "16-mixed", "16-true", "transformer-engine", "transformer-engine-float16")


def check_precision(precision: Any, moments_dtype: str | None = None) -> None:
    """Raises UserError for unsupported combinations of precision and dtype of the moments.

    float16 needs loss scaling. A joint loss scale would couple the members: if the gradient of one member overflows,
    the step of all members would be skipped.
    """
    if str(precision) in HALF:
        raise UserError(
            f"trainer.precision {precision}: float16 is not supported, because its loss scale would couple the "
            f"members; use {MIXED}, which needs no loss scaling, or {FULL}"
        )
    if moments_dtype and str(precision) not in ("None", "32", FULL, "bf16", MIXED):
        raise UserError(
            f"--model.moments_dtype {moments_dtype} needs float32 weights, unlike trainer.precision "
            f"{precision}: use {FULL} or {MIXED}, or remove --model.moments_dtype"
        )


def settled_precision(accelerator: Any) -> tuple[str, str]:
    """Resolves the precision `auto` and explains the choice.

    bfloat16 has the range of float32 and needs no loss scaling; weights and optimizer stay in float32. It is faster on
    hardware with bfloat16 support: NVIDIA GPUs from Ampere on, and CPUs with AMX or AVX-512 BF16.

    Args:
        accelerator: accelerator of Lightning's Trainer: ``auto``, ``cpu``, ``gpu``, ``cuda``, or another.
    """
    import torch

    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        name, capability = torch.cuda.get_device_name(), "{}.{}".format(*torch.cuda.get_device_capability())
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return MIXED, f"{name} supports bfloat16"
        return FULL, f"{name} has compute capability {capability}; bfloat16 needs 8.0 (Ampere)"
    if accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        capabilities = torch.cpu.get_capabilities()
        for name, feature in (("AMX", "amx_bf16"), ("AVX-512 BF16", "avx512_bf16")):
            if capabilities.get(feature):
                return MIXED, f"the CPU has {name}"
        return FULL, "the CPU has neither AMX nor AVX-512 BF16"
    return FULL, f"it is unknown whether the accelerator {accelerator} supports bfloat16"
