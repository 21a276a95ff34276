"""What `--precision auto` means: bfloat16 where the hardware multiplies it, and the reason is said."""

from pathlib import Path

import pytest
import torch
import yaml

import cli
from mu_lightning.utilities.precision import settled_precision


@pytest.fixture(autouse=True)
def _no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def cpu(monkeypatch: pytest.MonkeyPatch, amx: bool, avx: bool) -> None:
    assert isinstance(torch.cpu.get_capabilities().get("avx512_bf16", False), bool)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": amx, "avx512_bf16": avx})


def card(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A card")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: capability >= (8, 0))


@pytest.mark.parametrize(
    ("amx", "avx", "expected"),
    [
        (True, True, ("bf16-mixed", "the CPU has AMX")),
        (False, True, ("bf16-mixed", "the CPU has AVX-512 BF16")),
        (False, False, ("32-true", "the CPU has neither AMX nor AVX-512 BF16")),
    ],
)
@pytest.mark.parametrize("accelerator", ["auto", "cpu"])
def test_a_cpu_that_multiplies_bfloat16_uses_it(
    accelerator: str, amx: bool, avx: bool, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu(monkeypatch, amx, avx)
    assert settled_precision(accelerator) == expected


def test_a_card_from_ampere_on_uses_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu(monkeypatch, amx=True, avx=True)
    card(monkeypatch, (8, 0))
    assert settled_precision("auto") == ("bf16-mixed", "A card supports bfloat16")
    card(monkeypatch, (7, 5))
    precision, reason = settled_precision("gpu")
    assert precision == "32-true"
    assert "7.5" in reason
    assert settled_precision("cpu")[0] == "bf16-mixed"  # the card is not what computes


def test_another_accelerator_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu(monkeypatch, amx=True, avx=True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert settled_precision("auto")[0] == "32-true"
    assert settled_precision("mps")[0] == "32-true"


def test_a_run_records_what_auto_meant_and_says_why(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cpu(monkeypatch, amx=False, avx=False)
    words = ["fit", "--locales", "nl-NL", "--base", str(tiny_base), "--data.limit_train", "16", "--max-epochs", "1"]
    words += ["--precision", "auto", "--output-dir", str(tmp_path / "run"), "--models-dir", str(tmp_path / "models")]
    assert cli.main([*words, "--save-config", "--trainer.enable_progress_bar", "false"]) == 0
    assert "precision 32-true: the CPU has neither AMX nor AVX-512 BF16\n" in capsys.readouterr().err
    recorded = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert recorded["trainer"]["precision"] == "32-true"
