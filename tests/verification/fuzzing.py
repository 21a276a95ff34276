"""What is fuzzed: readers of files from outside, each with a strategy of inputs near valid ones.

A reader may take its input or refuse it with a `UserError`. Anything else that is raised is a fault, and so is a result
under the final name of what was refused. `test_fuzz.py` tries a few inputs, `benchmarks/fuzz.py` many.
"""

import io
import json
import struct
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from mu_lightning.checkpoints import source_models
from mu_lightning.commands.fit_arguments import parser
from mu_lightning.commands.program import main
from mu_lightning.data.records import read_records
from mu_lightning.data.registry import open_corpus
from mu_lightning.merging.folders.streaming import merge_folders
from mu_lightning.settings import CorpusSettings, TypologySettings
from mu_lightning.typology.plan import plan_sources
from mu_lightning.utilities.errors import UserError

NASTY = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        2**64,
        -(2**63),
        10**400,
        0.5,
        1e308,
        -1e308,
        float("nan"),
        float("inf"),
    ),
    *(
        "",
        " ",
        "a",
        "nl-NL",
        "zz-ZZ",
        "no",
        "1e5",
        "../x",
        "/",
        "\x00",
        "\ud7ff",
        "\ufeff",
        "=1",
        "x" * 300,
        "a/b",
        "a@b",
        "a+b",
    ),
)
SCALARS = st.sampled_from(NASTY) | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> Any:
    """A valid value of which some parts are replaced, removed or added."""
    if draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    if isinstance(valid, dict):
        found = {key: draw(mutated(value)) for key, value in valid.items() if draw(st.integers(0, 14))}
        return (
            {**found, **draw(st.dictionaries(st.text(max_size=6), VALUES, max_size=1))}
            if draw(st.integers(0, 9)) == 0
            else found
        )
    if isinstance(valid, list):
        return [draw(mutated(value)) for value in valid]
    return valid


def bent(texts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Files of such texts, some of them cut, with foreign bytes or in another encoding."""
    plain = texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
    cut = st.tuples(plain, st.integers(0, 400)).map(lambda pair: pair[0][: pair[1]])
    inserted = st.tuples(plain, st.binary(max_size=6), st.integers(0, 400)).map(
        lambda parts: parts[0][: parts[2]] + parts[1] + parts[0][parts[2] :]
    )
    utf16 = texts.map(lambda text: text.encode("utf-16", "surrogatepass"))
    return plain | plain | cut | inserted | utf16 | st.binary(max_size=200)


def tiny_model(folder: Path, header: bytes | None = None, config: bytes | None = None) -> Path:
    """A model folder of two small tensors."""
    tensors = {
        "roberta.w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]},
        "classifier.b": {"dtype": "F32", "shape": [4], "data_offsets": [64, 80]},
    }
    header = json.dumps(tensors).encode() if header is None else header
    folder.mkdir(parents=True, exist_ok=True)
    data = struct.pack("<20f", *[place / 20 for place in range(20)])
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    (folder / "config.json").write_bytes(json.dumps(CONFIG).encode() if config is None else config)
    return folder


CONFIG = {
    "model_type": "xlm-roberta",
    "architectures": ["XLMRobertaForSequenceClassification"],
    "id2label": {"0": "a", "1": "b"},
    "label2id": {"a": 0, "b": 1},
    "hidden_size": 4,
    "vocab_size": 4,
    "tie_word_embeddings": True,
}
HEADER = {
    "__metadata__": {"format": "pt"},
    "roberta.w": {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]},
    "classifier.b": {"dtype": "F32", "shape": [4], "data_offsets": [64, 80]},
}
OURS = {
    "method": "ties",
    "sources": {"a": {"model": "MODELS/a", "weight": 0.5}, "b": {"model": "MODELS/b", "weight": 0.5}},
    "base": "MODELS/a",
    "parameters": {"density": 0.5},
    "overrides": [{"pattern": "classifier.*", "weights": {"a": 1.0}}],
    "dtype": "float32",
    "seed": 0,
}
MERGEKITS = {
    "merge_method": "linear",
    "models": [
        {"model": "MODELS/a", "parameters": {"weight": [{"filter": "b", "value": 1}, {"value": 0.5}]}},
        {"model": "MODELS/b", "parameters": {"weight": 0.5}},
    ],
    "parameters": {"normalize": True},
    "dtype": "float32",
    "tokenizer": {"source": "union"},
}
ROW = {
    "id": "1",
    "locale": "nl-NL",
    "partition": "train",
    "intent": "alarm_set",
    "utt": "wek me",
    "annot_utt": "wek me",
}
RUN = {
    "seed_everything": 1,
    "locales": ["nl-NL"],
    "data": {"corpus": "cldr", "limit_train": 8, "batch_size": 4},
    "model": {"learning_rate": 1e-3, "lora": {"r": 2}},
    "merge": {"method": "ties", "parameters": {"density": 0.5}, "schedule": {"name": "every-epochs", "n": 2}},
    "trainer": {"max_epochs": 1, "accelerator": "cpu"},
}


def as_yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, allow_unicode=True))


def as_json(value: Any) -> str:
    return json.dumps(value)


def csv_of(header: list[str], rows: list[list[str]]) -> st.SearchStrategy[str]:
    """Tables near a valid one."""
    cells = st.sampled_from(["", "0.5", "-1", "nan", "1e999", '"', "'=1", "x", "nl-NL", "a,b"]) | st.text(max_size=6)
    table = [header, *rows]

    @st.composite
    def tables(draw: st.DrawFn) -> str:
        lines = [[draw(cells) if draw(st.integers(0, 11)) == 0 else cell for cell in row] for row in table]
        return "\n".join(
            ",".join(line[: draw(st.integers(0, len(line))) if draw(st.integers(0, 19)) == 0 else None])
            for line in lines
        )

    return tables()


@dataclass(frozen=True)
class Fuzzed:
    """A reader and the files that it is given.

    Attributes:
        files: the strategy of a file's bytes.
        read: reads the file in an empty folder; raises `UserError` for what it refuses.
    """

    files: st.SearchStrategy[bytes]
    read: Callable[[bytes, Path], Any]


def _recipe(content: bytes, folder: Path) -> None:
    for name in "ab":
        tiny_model(folder / name)
    (folder / "r.yaml").write_bytes(content.replace(b"MODELS", str(folder).encode()))
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        status = main(["merge", "--recipe", str(folder / "r.yaml"), "--output-dir", str(folder / "out")])
    assert status in (0, 2)
    assert (folder / "out").exists() == (status == 0)


def _similarities(content: bytes, folder: Path) -> None:
    (folder / "m.csv").write_bytes(content)
    settings = TypologySettings(similarity_source="sparse", similarity_matrix=folder / "m.csv")
    plan = plan_sources("af-ZA", available=("nl-NL", "de-DE"), num_languages=1, settings=settings)
    assert abs(sum(plan.weights.values()) - 1) < 1e-9


def _models(content: bytes, folder: Path) -> None:
    (folder / "models.csv").write_bytes(content)
    assert source_models(None, folder / "models.csv")


def _massive(content: bytes, folder: Path) -> None:
    (folder / "nl-NL.jsonl").write_bytes(content)
    corpus = open_corpus(CorpusSettings("massive", folder))
    for split in ("train", "dev", "test"):
        corpus.rows("nl-NL", split)  # type: ignore[arg-type]


def _table(content: bytes, folder: Path) -> None:
    for suffix in (".csv", ".tsv", ".jsonl", ".parquet"):
        (folder / f"t{suffix}").write_bytes(content)
        try:
            list(read_records(folder / f"t{suffix}"))
        except UserError:
            continue


def _merged(folder: Path) -> None:
    try:
        merge_folders(
            "linear", {name: folder / name for name in "ab"}, {"a": 0.5, "b": 0.5}, folder / "out", progress=False
        )
    except UserError:
        assert not (folder / "out").exists()
        raise


def _header(content: bytes, folder: Path) -> None:
    tiny_model(folder / "a")
    tiny_model(folder / "b", header=content)
    _merged(folder)


def _config(content: bytes, folder: Path) -> None:
    tiny_model(folder / "a")
    tiny_model(folder / "b", config=content)
    _merged(folder)


def _run(content: bytes, folder: Path) -> None:
    (folder / "c.yaml").write_bytes(content)
    parser("fit").parse_args(["--config", str(folder / "c.yaml")])


SQUARE = csv_of(
    ["", "af-ZA", "nl-NL", "de-DE"],
    [["af-ZA", "1", "0.9", "0.8"], ["nl-NL", "0.9", "1", "0.7"], ["de-DE", "0.8", "0.7", "1"]],
)
ROWS = st.lists(mutated(ROW), min_size=1, max_size=3)
FUZZED = {
    "recipes": Fuzzed(bent((mutated(OURS) | mutated(MERGEKITS)).map(as_yaml)), _recipe),
    "similarity matrices": Fuzzed(bent(SQUARE), _similarities),
    "lists of models": Fuzzed(bent(csv_of(["locale", "path"], [["nl-NL", "x"], ["de-DE", "y"]])), _models),
    "rows of MASSIVE": Fuzzed(bent(ROWS.map(lambda rows: "\n".join(map(as_json, rows)))), _massive),
    "tables": Fuzzed(
        bent(
            csv_of(["text", "label"], [["a", "b"], ["c", "d"]]) | ROWS.map(lambda rows: "\n".join(map(as_json, rows)))
        ),
        _table,
    ),
    "headers of safetensors": Fuzzed(bent(mutated(HEADER).map(as_json)), _header),
    "configs of models": Fuzzed(bent(mutated(CONFIG).map(as_json)), _config),
    "configurations of runs": Fuzzed(bent(mutated(RUN).map(as_yaml)), _run),
}
