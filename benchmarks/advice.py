"""How well `advise` predicts transfer: each language of an N-by-N matrix left out; writes its part of docs/advice.md.

    python benchmarks/advice.py cldr
    python benchmarks/advice.py massive --data-dir PATH --base PATH

The matrices are the tables of docs/results-<corpus>.md, in tenths of a percent; text comes from the corpus.
"""

import argparse
from pathlib import Path

import numpy as np
from common import ROOT, goal, provenance, table, write_section

from mu_lightning.advice.advising import scores_without_matrix
from mu_lightning.advice.pairs import COVERAGE, FEATURES, OVERLAP
from mu_lightning.advice.profiles import profiles
from mu_lightning.advice.transfer_model import TransferModel
from mu_lightning.advice.validation import Ranking, ranking, validate
from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.data.registry import open_corpus
from mu_lightning.results.matrix import NByN
from mu_lightning.settings import EMBEDDED_BASE, CorpusSettings
from mu_lightning.typology.features import FEATURE_SETS

SIZE = 5
PAGE = ROOT / "docs" / "advice.md"


def published(page: Path) -> NByN:
    """The matrix of a page of results."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("| trained on |"))
    end = next(place for place in range(start, len(lines)) if not lines[place].startswith("|"))
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in lines[start:end]]
    accuracy = np.array([[float(cell) / 100 for cell in row[1:]] for row in rows[2:]])
    return NByN(page, tuple(row[0] for row in rows[2:]), tuple(rows[0][1:]), accuracy)


def rows_of(model: TransferModel, typology: TransferModel) -> list[list[str]]:
    """Ranking -> its quality, for each ranking."""
    found = {name: model.features[..., FEATURES.index(name)] for name in (*FEATURE_SETS, COVERAGE, OVERLAP)}
    rankings = {name: ranking(model, scores, SIZE) for name, scores in found.items()}
    apart = np.where(np.isfinite(model.accuracy)[..., None], model.features, np.nan)
    by_ranks = np.stack([scores_without_matrix(column) for column in apart.transpose(1, 0, 2)], axis=1)
    rankings["ranking without a matrix (syntax_knn and overlap)"] = ranking(model, by_ranks, SIZE)
    rankings["**model of transfer**, without text"] = ranking(typology, typology.left_out, SIZE)
    rankings["**model of transfer**"] = ranking(model, model.left_out, SIZE)
    return [[name, *cells(one)] for name, one in rankings.items()]


def cells(one: Ranking) -> list[str]:
    """Correlation and precision."""
    precision = "" if np.isnan(one.precision) else f"{100 * one.precision:.0f}"
    return [f"{one.correlation:+.2f}", precision]


def main() -> None:
    """Validates the model and writes the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=["cldr", "massive"])
    parser.add_argument("--data-dir", type=Path, help="MASSIVE's release directory")
    parser.add_argument("--base", default=str(ROOT / EMBEDDED_BASE), help="base whose tokenizer is used")
    options = parser.parse_args()
    matrix = published(ROOT / f"docs/results-{options.corpus}.md")
    corpus = open_corpus(CorpusSettings(options.corpus, data_dir=options.data_dir))
    texts = profiles(corpus, matrix.locales, load_tokenizer(options.base))
    model, typology = TransferModel(matrix, texts), TransferModel(matrix, {})
    found = validate(model, SIZE)
    for what in ("correlation", "precision"):
        ours, theirs = getattr(found.model, what), getattr(found.similarity, what)
        goal(f"{what} on {options.corpus}, of which syntax_knn has {theirs:.2f}", ours, at_least=round(theirs, 2))
    header = ["ranking", "rank correlation", f"precision at {SIZE}, %"]
    text = (
        f"### {options.corpus}: {found.targets} languages\n\n"
        f"{provenance('scikit-learn', hidden=('--data-dir', '--base'))} The matrix is the table of "
        f"[results-{options.corpus}.md](results-{options.corpus}.md), with base {Path(options.base).name}.\n\n"
        f"{table(header, rows_of(model, typology))}\n\n"
        f"Mean absolute error of a predicted accuracy: {100 * found.error:.1f} points. "
        f"{100 * found.inside:.0f}\u00a0% of the accuracies are inside their 95\u00a0% intervals."
    )
    write_section(f"advice {options.corpus}", text, PAGE)


if __name__ == "__main__":
    main()
