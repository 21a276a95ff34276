"""Several targets in one run, merged on a schedule, as a user runs it."""

import json
from pathlib import Path

from transformers import AutoModelForSequenceClassification

import cli


def test_each_target_gets_its_own_model_and_a_line_in_the_results(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ["--target-languages", "af-ZA", "da-DK", "--locales", "nl-NL,de-DE", "--merge.follow", "mean"]
    small = ["--max-epochs", "2", "--data.limit_train", "64", "--trainer.enable_progress_bar", "false"]
    adaptive = ["--adaptive-merge-frequency", "--merge-frequency", "1", "--convergence-threshold", "1e-4"]
    assert cli.main(["fit", *arguments, *small, *adaptive, "--output-dir", str(folder)]) == 0
    results = json.loads((folder / "results.json").read_text())["results"]
    assert [(result["name"], result["locale"], result["supervision"]) for result in results] == [
        ("iterative, linear, URIEL, adaptive (start 1), follow mean", "af-ZA", "target-dev-labels"),
        ("iterative, linear, URIEL, adaptive (start 1), follow mean", "da-DK", "none"),
    ]
    assert results[0]["weights"] != results[1]["weights"]
    for target in ("af-ZA", "da-DK"):
        model = AutoModelForSequenceClassification.from_pretrained(folder / "merged" / target)
        assert model.config.num_labels == 25
    assert (folder / "merges" / "kept.json").is_file()
    assert cli.main(["schedule", "--history", str(folder), "--schedule", "plateau"]) == 0
    assert (folder / "schedule.png").is_file()
