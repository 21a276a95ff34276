"""The study of `workflow.py` as one would script it: Trainer for each source, mergekit, pipeline, votes by hand.

`python benchmarks/workflow_rival.py STUDY.json OUTPUT.json` reads the tables and the model that the study names, and
writes the accuracy of each of its cells. It uses nothing of mu-lightning.
"""

import csv
import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Row = dict[str, str]


def read_rows(folder: Path, locale: str, split: str) -> list[Row]:
    """The rows of a split from a locale's table."""
    with (folder / f"{locale}.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def votes(logits: np.ndarray, weights: Sequence[float]) -> dict[str, np.ndarray]:
    """Four votes of members on rows.

    Args:
        logits: (members, rows, classes).
        weights: of the members, summing to 1.

    Returns:
        Vote -> the class of each row, (rows,).
    """
    shares = np.asarray(weights, logits.dtype)
    ballots = np.eye(logits.shape[-1], dtype=logits.dtype)[logits.argmax(-1)]
    exponents = np.exp(logits - logits.max(-1, keepdims=True))
    likely = exponents / exponents.sum(-1, keepdims=True)
    first = np.arange(len(logits), 0, -1, dtype=logits.dtype)[:, None, None] / (len(logits) + 1)
    scores = {
        "majority": ballots.sum(0) + (ballots * first).max(0),  # of equally many votes the first member's
        "weighted_majority": np.einsum("m,mbc->bc", shares, ballots),
        "soft": np.einsum("m,mbc->bc", shares, likely),
        "uriel_logits": np.einsum("m,mbc->bc", shares, logits),
    }
    return {name: one.argmax(-1) for name, one in scores.items()}


class Study:
    """The script's steps.

    Args:
        study: what `workflow.study` wrote.
        scratch: where models go.
    """

    def __init__(self, study: Mapping[str, Any], scratch: Path) -> None:
        from transformers import AutoConfig, AutoTokenizer

        self.study, self.scratch, self.start = study, scratch, study["start"]
        self.data, self.target, self.sources = Path(study["data"]), study["target"], study["sources"]
        self.tokenizer = AutoTokenizer.from_pretrained(self.start)
        self.index = AutoConfig.from_pretrained(self.start).label2id
        self.test = {tag: read_rows(self.data, tag, "test") for tag in (*self.sources, self.target)}
        self.labels = {tag: np.array([self.index[row["label"]] for row in rows]) for tag, rows in self.test.items()}

    def encoded(self, rows: Sequence[Row]) -> Any:
        """Tokenized rows with labels, as a dataset."""
        from datasets import Dataset

        texts = [row["text"] for row in rows]
        tokens = self.tokenizer(texts, truncation=True, max_length=self.study["max_length"])
        return Dataset.from_dict({**tokens, "labels": [self.index[row["label"]] for row in rows]})

    def trainer(self, model: Any, rows: Any = None) -> Any:
        """A Trainer with the study's settings."""
        from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

        settings = TrainingArguments(
            output_dir=str(self.scratch / "trainer"),
            per_device_train_batch_size=self.study["batch_size"],
            per_device_eval_batch_size=self.study["eval_batch_size"],
            num_train_epochs=1,  # the rows of all epochs lie in the order of their batches
            train_sampling_strategy="sequential",
            learning_rate=self.study["learning_rate"],
            weight_decay=self.study["weight_decay"],
            max_grad_norm=self.study["clip"],
            seed=self.study["seed"],
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        return Trainer(model, settings, DataCollatorWithPadding(self.tokenizer), rows)

    def train(self, source: str) -> Any:
        """Trains a source's model and saves it; returns its Trainer."""
        from transformers import AutoModelForSequenceClassification

        rows = read_rows(self.data, source, "train")
        rows = [rows[place] for place in self.study["order"][source]]
        trainer = self.trainer(AutoModelForSequenceClassification.from_pretrained(self.start), self.encoded(rows))
        trainer.train()
        trainer.save_model(str(self.scratch / source))
        self.tokenizer.save_pretrained(self.scratch / source)
        return trainer

    def accuracy(self, tag: str, predictions: np.ndarray) -> float:
        """Share of a locale's test rows that are right."""
        return float(np.mean(predictions == self.labels[tag]))

    def members(self) -> dict[str, float]:
        """Trains every source and scores it on every locale, then lets all vote on the target."""
        found, logits = {}, []
        parts = {tag: self.encoded(rows) for tag, rows in self.test.items()}
        for source in self.sources:
            trainer = self.train(source)
            scores = {tag: trainer.predict(part).predictions for tag, part in parts.items()}
            found |= {f"{source} on {tag}": self.accuracy(tag, one.argmax(-1)) for tag, one in scores.items()}
            logits.append(scores[self.target])
            del trainer
            gc.collect()  # trainer and model hold each other: the next one would come on top
        weights = [self.study["weights"]["uriel"][source] for source in self.sources]
        chosen = votes(np.stack(logits), weights)
        return found | {f"vote {name}": self.accuracy(self.target, one) for name, one in chosen.items()}

    def merges(self) -> dict[str, float]:
        """Merges the sources by every method and weights, each scored on the target by a pipeline."""
        from transformers import AutoModelForSequenceClassification, pipeline

        found = {}
        for method, parameters in self.study["methods"].items():
            for name, weights in self.study["weights"].items():
                output = self.merge(method, parameters, weights)
                model = AutoModelForSequenceClassification.from_pretrained(output)
                classify = pipeline(
                    "text-classification",
                    model=model,
                    tokenizer=self.tokenizer,
                    device="cpu",
                    batch_size=self.study["eval_batch_size"],
                )
                texts = [row["text"] for row in self.test[self.target]]
                answers = classify(texts, truncation=True, max_length=self.study["max_length"])
                chosen = np.array([self.index[answer["label"]] for answer in answers])
                found[f"{method} {name}"] = self.accuracy(self.target, chosen)
                del classify, model
                shutil.rmtree(output)
        return found

    def merge(self, method: str, parameters: Mapping[str, Any], weights: Mapping[str, float]) -> Path:
        """One merge by mergekit; returns its folder."""
        recipe = {
            "merge_method": method,
            "dtype": "float32",
            "parameters": dict(parameters),
            "models": [
                {"model": str(self.scratch / source), "parameters": {"weight": weights[source]}}
                for source in self.sources
            ],
        } | ({} if method == "linear" else {"base_model": self.start})
        path, output = self.scratch / "merge.yaml", self.scratch / "merged"
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        subprocess.run([self.study["mergekit"], str(path), str(output)], check=True)
        return output


def main() -> None:
    """Runs the whole study."""
    place, output = map(Path, sys.argv[1:])
    scratch = output.with_suffix("")
    scratch.mkdir()
    study = Study(json.loads(place.read_text(encoding="utf-8")), scratch)
    output.write_text(json.dumps(study.members() | study.merges()), encoding="utf-8")


if __name__ == "__main__":
    main()
