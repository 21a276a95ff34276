"""The command `similarity`, and the arguments that it shares with other commands."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.commands.arguments import add_source_arguments, plan_from
from mu_lightning.commands.parsing import command_parser
from mu_lightning.commands.similarity import parser, run
from mu_lightning.locales import LOCALES, locale_list
from mu_lightning.reporting.similarity_figure import clustered_order, draw_heat_map
from mu_lightning.typology.plan import plan_sources
from mu_lightning.typology.similarity import SimilarityMatrix, from_features, read_csv
from mu_lightning.utilities.errors import UserError


def test_it_prints_the_neighbors_and_their_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--target-lang", "sq-AL", "--num-languages", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = plan_sources("sq-AL", available=LOCALES, num_languages=3)
    assert "sq-AL (Albanian)" in lines[0]
    for line, tag in zip(lines[2:], expected.sources, strict=True):
        assert line.split()[0] == tag
        assert line.split()[-2:] == [f"{expected.similarities[tag]:.4f}", f"{expected.weights[tag]:.4f}"]


def test_the_matrix_is_written_and_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "matrix.csv"
    assert run(["--output-file", str(path)]) == 0
    assert read_csv(path).locales == tuple(LOCALES)
    capsys.readouterr()
    tables = []
    for more in ([], ["--similarity-source", "sparse", "--similarity-matrix", str(path)]):
        run(["--target-lang", "af-ZA", *more])
        tables.append(capsys.readouterr().out.splitlines()[1:])
    assert tables[0] == tables[1]
    with pytest.raises(UserError, match="already holds a file"):
        run(["--output-file", str(path)])


@pytest.mark.parametrize("locales", [["en-US,nl-NL,de-DE"], ["en-US", "nl-NL", "de-DE"], ["en-US,nl-NL", "de-DE"]])
def test_locales_are_separated_by_commas_or_spaces(locales: list[str]) -> None:
    arguments = parser().parse_args(["--target-lang", "af-ZA", "--locales", *locales])
    assert plan_from(arguments).sources == ("en-US", "nl-NL", "de-DE")
    assert locale_list(None) is None
    assert locale_list("a, b") == ["a", "b"]


def test_a_file_gives_the_same_arguments(tmp_path: Path) -> None:
    config = tmp_path / "similarity.yaml"
    config.write_text(
        "target_lang: af-ZA\nlocales: [en-US, nl-NL]\npreweight: manual\nweights: {en-US: 1, nl-NL: 3}\n",
        encoding="utf-8",
    )
    arguments = parser().parse_args(["--config", str(config)])
    assert plan_from(arguments).weights == {"en-US": 0.25, "nl-NL": 0.75}
    flags = ["--target-lang", "af-ZA", "--preweight", "manual", "--weights", "en-US=1,nl-NL=3"]
    assert plan_from(parser().parse_args(flags)).weights == {"en-US": 0.25, "nl-NL": 0.75}


def test_only_locales_with_a_model_are_taken(tmp_path: Path) -> None:
    for tag in ("it-IT", "fi-FI"):
        folder = tmp_path / f"base_cldr_{tag}"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    flags = ["--target-lang", "sq-AL", "--models-dir", str(tmp_path), "--num-languages", "2"]
    assert plan_from(parser().parse_args(flags)).sources == ("it-IT", "fi-FI")
    with pytest.raises(UserError, match="3 source languages are asked for sq-AL, but only 2 exist: it-IT, fi-FI"):
        run([*flags[:-1], "3"])
    table = tmp_path / "models.csv"
    table.write_text("locale,path\nro-RO,someone/a-model\n")
    flags = ["--target-lang", "sq-AL", "--models-csv", str(table), "--num-languages", "1"]
    assert plan_from(parser().parse_args(flags)).sources == ("ro-RO",)


def test_commands_that_use_models_look_for_them_in_checkpoints() -> None:
    shared = command_parser("shared", "")
    add_source_arguments(shared)
    assert shared.get_defaults().models_dir == Path("checkpoints")
    assert parser().get_defaults().models_dir is None


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "nothing to do"),
        (["--target-lang", "Albanian"], "is a language's name, not its tag: write sq or sq-AL"),
        (["--target-lang", "sq-AL", "--locales", "sq-AL,it-IT"], "among its sources"),
        (["--target-lang", "sq-AL", "--models-dir", "no/such/folder"], "no source model found"),
        (["--figure", "picture.jpeg"], r"written as \.svg, \.png, \.pdf"),
    ],
)
def test_mistakes_are_refused(argv: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(argv)


def test_like_languages_stand_together() -> None:
    matrix = from_features("family", tuple(LOCALES))
    order = [LOCALES[matrix.locales[index]].family for index in clustered_order(matrix)]
    assert sorted(clustered_order(matrix)) == list(range(52))
    breaks = sum(left != right for left, right in pairwise(order))
    assert breaks == len(set(order)) - 1
    assert clustered_order(SimilarityMatrix(("a", "b"), np.ones((2, 2)))) == [0, 1]


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_picture_is_the_same_each_time(suffix: str, tmp_path: Path) -> None:
    matrix = from_features("syntax_knn", tuple(LOCALES)[:6])
    plan = plan_sources("am-ET", available=matrix.locales, locales=["ar-SA", "af-ZA"])
    for name in ("first", "second"):
        draw_heat_map(matrix, tmp_path / f"{name}.{suffix}", plan)
    first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("first", "second"))
    assert first == second
    assert first.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")
