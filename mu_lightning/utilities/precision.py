"""Which precision `auto` means on this machine."""

from typing import Any

from mu_lightning.utilities.errors import UserError

FULL, MIXED = "32-true", "bf16-mixed"
HALF = ("16", "16-mixed", "16-true", "transformer-engine", "transformer-engine-float16")


def check_precision(precision: Any, moments_dtype: str | None = None) -> None:
    """Raises UserError where members cannot be trained in a precision, or not with moments of that dtype.

    float16 has too little range for gradients. Scaling the loss would help, but one scale serves all members: where one
    member's gradient overflows, the step of all of them would be dropped, and none would learn what it learns alone.
    """
    if str(precision) in HALF:
        raise UserError(
            f"trainer.precision {precision}: members cannot be trained in float16, whose one loss scale would tie them "
            f"to one another; use {MIXED}, which needs none, or {FULL}"
        )
    if moments_dtype and str(precision) not in ("None", "32", FULL, "bf16", MIXED):
        raise UserError(
            f"--model.moments_dtype {moments_dtype} is for weights in float32, which they are not in trainer.precision "
            f"{precision}: use {FULL} or {MIXED}, or leave out --model.moments_dtype"
        )


def settled_precision(accelerator: Any) -> tuple[str, str]:
    """The precision that `auto` means, and why, in words.

    bfloat16 has float32's range, so it needs no scaling of the loss; weights and optimizer stay in float32. It pays
    where the hardware multiplies it: NVIDIA's cards from Ampere on, and CPUs with AMX or AVX-512's bfloat16 products.

    Args:
        accelerator: what Lightning's Trainer was asked for: ``auto``, ``cpu``, ``gpu``, ``cuda``, or another.
    """
    import torch

    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        name, capability = torch.cuda.get_device_name(), "{}.{}".format(*torch.cuda.get_device_capability())
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return MIXED, f"{name} multiplies bfloat16"
        return FULL, f"{name} has compute capability {capability}, and bfloat16 comes with 8.0 (Ampere)"
    if accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        capabilities = torch.cpu.get_capabilities()
        for name, feature in (("AMX", "amx_bf16"), ("AVX-512 BF16", "avx512_bf16")):
            if capabilities.get(feature):
                return MIXED, f"the CPU has {name}"
        return FULL, "the CPU has neither AMX nor AVX-512 BF16"
    return FULL, f"whether the accelerator {accelerator} gains from bfloat16 is not known"
