"""The one evaluation loop: each row once, in the split's order, whatever module it is given."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mu_lightning.evaluation.loop import Collector, evaluate, evaluate_named

ROOT = Path(__file__).parents[3]


class Oracle(nn.Module):
    """Gives every third row another label than its own, knowing the labels; counts what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.modes: list[bool] = []
        self.inference = True

    def forward(self, batch: Any) -> Tensor:
        self.modes.append(self.training)
        self.inference &= torch.is_inference_mode_enabled()
        labels = torch.where(batch["index"] % 3 == 0, (batch["labels"] + 1) % 25, batch["labels"])
        return self.scale * nn.functional.one_hot(labels, 25).float()


@pytest.fixture
def loaders(data_module: Any) -> Any:
    return data_module().eval_loaders("test", ["en-US", "de-DE"])


def test_predictions_are_in_the_splits_order_with_its_ids_and_labels(loaders: Any, corpus: Any) -> None:
    scores = evaluate(Oracle(), loaders)
    assert list(scores) == ["en-US", "de-DE"]
    for locale, found in scores.items():
        rows = corpus.rows(locale, "test")
        expected = [(label + 1) % 25 if row % 3 == 0 else label for row, label in enumerate(rows.labels)]
        assert found.locale == locale
        assert found.ids.tolist() == list(rows.ids)
        assert found.labels.tolist() == list(rows.labels)
        assert found.predictions.tolist() == expected
        assert found.accuracy == 46 / 70


@pytest.mark.parametrize("training", [True, False])
def test_it_evaluates_in_evaluation_mode_without_gradients_and_restores_the_mode(loaders: Any, training: bool) -> None:
    module = Oracle().train(training)
    evaluate(module, loaders)
    assert set(module.modes) == {False}
    assert module.inference
    assert module.training is training


def test_the_mode_is_restored_after_an_error_too(loaders: Any) -> None:
    class Broken(Oracle):
        def forward(self, batch: Any) -> Tensor:
            raise ArithmeticError

    module = Broken().train()
    with pytest.raises(ArithmeticError):
        evaluate(module, loaders)
    assert module.training


def test_a_module_without_parameters_can_be_evaluated(loaders: Any) -> None:
    class First(nn.Module):
        def forward(self, batch: Any) -> Tensor:
            return nn.functional.one_hot(torch.zeros_like(batch["labels"]), 25).float()

    assert set(evaluate(First(), loaders)["en-US"].predictions) == {0}


def test_named_logits_are_scored_each_by_its_name(loaders: Any) -> None:
    class Two(Oracle):
        def forward(self, batch: Any) -> dict[str, Tensor]:  # type: ignore[override]
            right = nn.functional.one_hot(batch["labels"], 25).float()
            return {"right": right, "wrong": -right}

    scores = evaluate_named(Two(), loaders)
    assert {name: found["de-DE"].accuracy for name, found in scores.items()} == {"right": 1, "wrong": 0}


def part(rows: list[int]) -> Any:
    return {"index": torch.tensor(rows), "labels": torch.tensor(rows)}


def logits(rows: list[int]) -> Tensor:
    return nn.functional.one_hot(torch.tensor(rows), 9).float()


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([[0, 1], [3, 4]], id="a row is missing"),
        pytest.param([[0, 1, 2, 3]], id="the last row is missing"),
        pytest.param([[0, 1, 2], [2, 3, 4]], id="a row is there twice"),
        pytest.param([[0, 1, 2], [2, 4]], id="one is there twice in place of another"),
    ],
)
def test_a_split_that_is_not_covered_row_by_row_gets_no_score(parts: list[list[int]]) -> None:
    collector = Collector({"en-US": list("abcde")})
    for rows in parts:
        collector.add("en-US", part(rows), logits(rows))
    with pytest.raises(RuntimeError, match=r"en-US: \d rows were scored, 5 expected, each once"):
        collector.scores()


def test_batches_may_come_in_any_order() -> None:
    collector = Collector({"en-US": list("abcde")})
    for rows in ([4, 1], [0, 3, 2]):
        collector.add("en-US", part(rows), logits(rows))
    scores = collector.scores()[""]["en-US"]
    assert scores.predictions.tolist() == [0, 1, 2, 3, 4]
    assert scores.ids.tolist() == list("abcde")


DEVICE = """
import os, sys, torch
import torch.distributed as dist
from mu_lightning.evaluation.loop import Collector
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
collector = Collector({"en-US": list("abcde")})
rows = torch.arange(5)[rank::2]
collector.add("en-US", {"index": rows, "labels": rows}, torch.nn.functional.one_hot(rows * (rows != 3), 5).float())
scores = collector.scores()[""]["en-US"]
print(scores.predictions.tolist(), scores.accuracy)
dist.destroy_process_group()
"""


def test_every_device_gets_the_scores_of_all_devices_rows(tmp_path: Path) -> None:
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    devices = [
        subprocess.Popen(
            [sys.executable, "-c", DEVICE, str(rank), str(tmp_path / "meeting")],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [device.communicate(timeout=120) for device in devices]
    assert [device.returncode for device in devices] == [0, 0], outputs
    assert [printed.strip() for printed, _ in outputs] == ["[0, 1, 2, 0, 4] 0.8"] * 2


def test_scores_are_numpy_arrays_of_one_length(loaders: Any) -> None:
    scores = evaluate(Oracle(), loaders)["en-US"]
    assert {len(array) for array in (scores.ids, scores.labels, scores.predictions)} == {70}
    assert all(isinstance(array, np.ndarray) for array in (scores.ids, scores.labels, scores.predictions))


def test_the_calibration_error_is_of_the_probabilities_at_the_modules_temperature(loaders: Any) -> None:
    def error(temperature: float) -> float:
        module = Oracle()
        module.temperature = temperature  # type: ignore[assignment]
        return evaluate(module, loaders)["en-US"].calibration_error  # type: ignore[return-value]

    for temperature in (1.0, 0.1):
        confidence = np.exp(1 / temperature) / (np.exp(1 / temperature) + 24)
        assert error(temperature) == pytest.approx(abs(46 / 70 - confidence), abs=1e-6)


def test_a_module_may_say_how_sure_it_is(loaders: Any) -> None:
    class Sure(Oracle):
        def confidences(self, output: Tensor) -> Tensor:
            return torch.ones(len(output))

    assert evaluate(Sure(), loaders)["en-US"].calibration_error == pytest.approx(24 / 70)
