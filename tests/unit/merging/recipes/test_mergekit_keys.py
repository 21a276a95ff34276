"""Every key of mergekit's recipes is carried out or refused by name."""

from pathlib import Path

import pytest
import yaml

from mu_lightning.merging.recipes import mergekit_keys, mergekit_methods
from mu_lightning.merging.recipes.mergekit_keys import CARRIED_OUT, REFUSED
from mu_lightning.merging.recipes.reading import Recipe, read_recipe
from mu_lightning.utilities.errors import UserError

DOCS = Path(__file__).parents[4] / "docs" / "merging.md"


def read(tmp_path: Path, **content: object) -> Recipe:
    given = {"merge_method": "linear", "models": [model("a"), model("b")], **content}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(given))
    return read_recipe(tmp_path / "recipe.yaml")


def model(name: object, weight: object = 0.5, **more: object) -> dict[str, object]:
    return {"model": name, "parameters": {"weight": weight}, **more}


def test_the_docs_have_the_table() -> None:
    assert mergekit_keys.markdown() in DOCS.read_text(encoding="utf-8")


def test_the_tables_have_the_schema_of_mergekit() -> None:
    config = pytest.importorskip("mergekit.config")
    common, tokenizer = pytest.importorskip("mergekit.common"), pytest.importorskip("mergekit.tokenizer.config")
    assert set(mergekit_keys.RECIPE) - {"name"} == config.MergeConfiguration.model_fields.keys()
    assert set(mergekit_keys.MODEL) == config.InputModelDefinition.model_fields.keys()
    assert set(mergekit_keys.FILTER) == config.ConditionalParameter.model_fields.keys()
    assert set(mergekit_keys.REFERENCE) == common.ModelReference.model_fields.keys()
    assert set(mergekit_keys.PATH) == common.ModelPath.model_fields.keys()
    assert set(mergekit_keys.TOKENIZER) == tokenizer.TokenizerConfig.model_fields.keys()


def test_the_methods_have_the_parameters_of_mergekits() -> None:
    registry = pytest.importorskip("mergekit.merge_methods.registry")
    found = {method.spec.name: {one.name for one in method.spec.parameters} for method in registry.registered_methods()}
    assert found.keys() == mergekit_methods.METHODS.keys()
    for name, theirs in found.items():
        method = mergekit_methods.METHODS[name]
        known = {*method.parameters, "int8_mask", *(["weight"] if method.weighted else [])} | (
            {"t"} if name == "slerp" else set()
        )
        # task_arithmetic ignores a density, which is refused here as an unknown parameter
        assert theirs - known <= ({"density"} if name == "task_arithmetic" else set()), name


def test_every_key_of_a_recipe_is_in_the_table() -> None:
    told = {key.partition(".")[0].partition("[")[0] for key in (*CARRIED_OUT, *REFUSED)}
    assert told == set(mergekit_keys.RECIPE)


def test_a_model_that_is_named_twice_has_both_weights(tmp_path: Path) -> None:
    assert read(tmp_path, models=[model("a", 0.5), model("b", 0.25), model("a", 0.25)]).weights == {
        "a": 0.75,
        "b": 0.25,
    }
    raw = read(tmp_path, models=[model("a", 0.1), model("a", 1.0)], parameters={"normalize": False})
    assert raw.weights == {"a": pytest.approx(1.1)}
    with pytest.raises(UserError, match="the model a is named twice in the recipe"):
        read(tmp_path, merge_method="ties", base_model="c", models=[model("a"), model("a")])


@pytest.mark.parametrize("folder", ["nl+v2", "de@home", "a+b@c"])
def test_a_path_that_exists_is_a_path(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    path = str(tmp_path / folder)
    for form in (path, {"path": path}, {"model": path}, {"model": {"path": path}}):
        assert list(read(tmp_path, models=[model(form), model("b")]).models) == [path, "b"]


def test_revisions_are_read_in_both_forms(tmp_path: Path) -> None:
    found = read(tmp_path, models=[model("org/x@main"), model({"model": {"path": "org/y", "revision": "v1"}})])
    assert list(found.models) == ["org/x@main", "org/y@v1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"slices": []}, "mergekit's slices is not supported: only whole models merge"),
        ({"modules": {"a": 1}}, "mergekit's modules is not supported"),
        ({"chat_template": "chatml"}, "mergekit's chat_template .'chatml'. is not supported"),
        (
            {"tokenizer": {"source": "union", "tokens": {"<s>": {"source": "a"}}}},
            "tokenizer.tokens .* is not supported",
        ),
        ({"tokenizer": {"pad_to_multiple_of": 8}}, "tokenizer.pad_to_multiple_of .8. is not supported"),
        ({"tokenizer": {"sauce": 8}}, "unknown key of mergekit's tokenizer 'sauce': did you mean source"),
        ({"tokenizer": 5}, "mergekit's tokenizer: expected a mapping"),
        ({"tokenizer_source": "c"}, "tokenizer_source is 'c': expected union, base or a model of the recipe"),
        ({"models": [model("a+lora")]}, r"models\[\].model.lora .'a\+lora'. is not supported"),
        ({"models": [model({"model": "a", "lora": "b"})]}, r"models\[\].model.lora .'b'. is not supported"),
        (
            {"models": [model({"model": "a", "override_architecture": "b"})]},
            "override_architecture .* is not supported",
        ),
        ({"models": [model({"modle": "a"})]}, "unknown key .* 'modle': did you mean model"),
        ({"models": [model({"path": "a", "revison": "b"})]}, "unknown key .* 'revison': did you mean revision"),
        ({"models": [model("")]}, "needs a path or hub id"),
        ({"models": [model("a", paramters={})]}, "unknown key .* 'paramters': did you mean parameters"),
        ({"models": [model("a", [{"value": 1, "fliter": "x"}])]}, "unknown key .* 'fliter': did you mean filter"),
        (
            {"merge_method": "ties", "base_model": "b", "models": [model("a"), model("b")]},
            "the base model b has parameters, which have no effect",
        ),
    ],
)
def test_nothing_that_is_written_is_dropped(content: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, **content)


def test_what_all_sources_share_or_only_people_read_is_accepted(tmp_path: Path) -> None:
    for more in (
        {"tokenizer_source": "union"},
        {"tokenizer": {"source": "a"}},
        {"name": "mine"},
        {"chat_template": None},
    ):
        assert list(read(tmp_path, **more).models) == ["a", "b"]
    assert read(tmp_path, parameters={"int8_mask": True}).parameters == {"weighting": "mean"}
