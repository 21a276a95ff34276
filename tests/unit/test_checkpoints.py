"""Model folders: which source models exist, and members that come back as they were saved."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mu_lightning.checkpoints import (
    label_names,
    load_base,
    load_classifier,
    load_tokenizer,
    model_folder_name,
    save_model,
    source_models,
    weights_file,
)
from mu_lightning.utilities.errors import UserError


def make(folder: Path, *names: str) -> Path:
    """Folders that count as models: they have a config.json."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    "family", ["xlm-r-cldr_cldr", "my_own_base_cldr", "xlm-roberta-base_massive_k", "mmBERT-base_massive"]
)
def test_source_models_are_found_by_their_folders_names(tmp_path: Path, family: str) -> None:
    make(tmp_path, f"{family}_sq-AL", f"{family}_en-US", f"{family}_zz-ZZ", "other", f"{family}_merged")
    (tmp_path / f"{family}_de-DE").mkdir()  # without a config: not a model
    assert source_models(tmp_path) == {"en-US": tmp_path / f"{family}_en-US", "sq-AL": tmp_path / f"{family}_sq-AL"}


def test_the_folder_that_fit_writes_is_the_one_that_is_found(tmp_path: Path) -> None:
    name = model_folder_name("checkpoints/xlm-r-cldr", "cldr", "sq-AL")
    assert name == "xlm-r-cldr_cldr_sq-AL"
    assert source_models(make(tmp_path, name), corpus="cldr", base="checkpoints/xlm-r-cldr") == {
        "sq-AL": tmp_path / name
    }
    assert model_folder_name("FacebookAI/xlm-roberta-base", "massive", "en-US") == "xlm-roberta-base_massive_en-US"


def test_a_base_named_by_a_dot_has_its_folders_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path / "base")
    assert model_folder_name(".", "cldr", "en-US") == "base_cldr_en-US"


def test_models_of_several_kinds_are_told_apart_by_corpus_or_base_or_refused(tmp_path: Path) -> None:
    make(tmp_path, "a_cldr_en-US", "a_massive_en-US", "b_cldr_en-US")
    with pytest.raises(
        UserError, match=r"several kinds \(a_cldr, a_massive, b_cldr\): choose one with --corpus and --"
    ):
        source_models(tmp_path)
    assert source_models(tmp_path, corpus="massive") == {"en-US": tmp_path / "a_massive_en-US"}
    assert source_models(tmp_path, base="somewhere/b") == {"en-US": tmp_path / "b_cldr_en-US"}
    assert source_models(tmp_path, corpus="cldr", base="a") == {"en-US": tmp_path / "a_cldr_en-US"}
    with pytest.raises(UserError, match=r"several kinds \(a_cldr, b_cldr\)"):
        source_models(tmp_path, corpus="cldr")


def test_names_that_begin_alike_are_told_apart_by_corpus_and_base_together(tmp_path: Path) -> None:
    make(tmp_path, "x_massive_en-US", "x_massive_k_en-US", "x_y_massive_en-US")
    assert source_models(tmp_path, corpus="massive", base="x") == {"en-US": tmp_path / "x_massive_en-US"}
    assert source_models(tmp_path, corpus="massive", base="x_y") == {"en-US": tmp_path / "x_y_massive_en-US"}


def test_a_published_collection_is_found_by_its_corpus_though_its_name_goes_on(tmp_path: Path) -> None:
    make(tmp_path, "xlm-roberta-base_massive_k_en-US", "xlm-roberta-base_cldr_en-US")
    assert list(source_models(tmp_path, corpus="massive").values()) == [tmp_path / "xlm-roberta-base_massive_k_en-US"]


def test_where_nothing_is_found_the_error_says_where_it_looked_and_for_what(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        source_models(make(tmp_path, "a_cldr_en-US"), corpus="massive", base="b")
    message = str(caught.value)
    assert str(tmp_path) in message
    assert "corpus 'massive', base 'b'" in message
    for way_out in ("<base>_<corpus>_<locale>", "fit --locales", "--models-dir", "--models-csv"):
        assert way_out in message
    with pytest.raises(UserError, match=r"no folder \S*nowhere; .*fit --locales.*--models-dir or --models-csv"):
        source_models(tmp_path / "nowhere")


def test_without_a_place_it_looks_in_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make(tmp_path, "checkpoints/a_cldr_en-US"))
    assert source_models() == {"en-US": Path("checkpoints/a_cldr_en-US")}


@pytest.mark.parametrize("column", ["path", "model", "model_name", "hub_id"])
def test_a_list_names_folders_beside_it_or_hub_ids(tmp_path: Path, column: str) -> None:
    make(tmp_path, "models/one")
    listed = tmp_path / "models.csv"
    listed.write_text(f"locale,{column},note\nen-US,models/one,\nsq-AL,someone/xlm-r-sq,hub\nde-DE,xlm-r,hub\n")
    assert source_models(models_csv=listed) == {
        "en-US": tmp_path / "models" / "one",
        "sq-AL": "someone/xlm-r-sq",
        "de-DE": "xlm-r",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("locale,path\nzz-ZZ,one\n", "lists 'zz-ZZ' which is not a known locale"),
        ("locale,path\nen-US,one\nen-US,two\n", "lists 'en-US' twice"),
        ("locale,path\nen-US,./nowhere\n", "lists ./nowhere for 'en-US', which is not a folder"),
        ("locale,path\nen-US,/no/such/folder\n", "which is not a folder"),
        ("locale,path\nen-US,a/b/c\n", "which is not a folder"),
        ("locale,folder\nen-US,one\n", "expected a header with 'locale' and 'path', and rows"),
        ("tag,path\nen-US,one\n", "expected a header"),
        ("locale,path\n", "expected a header"),
        ("", "is empty"),
        ("locale,path\nen-US,\n", "line 2: no path is given for 'en-US'"),
        ("locale,path\nen-US\n", "line 2: 1 cells in the row of 'en-US'"),
        ("locale,path,model\nen-US,one,two\n", "several columns of paths (path, model)"),
        ("locale,path,path\nen-US,one,two\n", "the column 'path' twice"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "models.csv").write_text(text)
    with pytest.raises(UserError) as caught:
        source_models(models_csv=tmp_path / "models.csv")
    assert message in str(caught.value)


def test_a_list_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UserError, match=r"no list of source models at nowhere\.csv"):
        source_models(models_csv=Path("nowhere.csv"))


def weights(model: Any, head: bool) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if name.startswith("classifier") == head}


def test_the_head_depends_on_the_seed_alone_and_the_encoder_not_at_all(tiny_base: Path, corpus: Any) -> None:
    torch.manual_seed(1)
    one = load_base(tiny_base, corpus.label_names, 5)
    torch.manual_seed(2)
    torch.rand(7)
    same, other = load_base(tiny_base, corpus.label_names, 5), load_base(tiny_base, corpus.label_names, 6)
    for name, value in weights(one, head=True).items():
        assert torch.equal(value, weights(same, head=True)[name])
        assert not value.any() or not torch.equal(value, weights(other, head=True)[name])
    for name, value in weights(one, head=False).items():
        assert torch.equal(value, weights(other, head=False)[name])


def test_loading_a_base_leaves_the_callers_random_numbers_alone(tiny_base: Path, corpus: Any) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_base(tiny_base, corpus.label_names, 5)
    assert torch.equal(torch.rand(3), expected)


def test_a_base_comes_ready_to_train_in_float32_with_the_corpus_labels(dropout_base: Path, corpus: Any) -> None:
    model = load_base(dropout_base, corpus.label_names, 0)
    assert model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert label_names(model) == corpus.label_names
    assert model.config.label2id[corpus.label_names[3]] == 3


@pytest.fixture
def saved(tmp_path: Path, tiny_base: Path, corpus: Any) -> tuple[Path, Any]:
    model = load_base(tiny_base, corpus.label_names, 3)
    save_model(tmp_path / "model", model, load_tokenizer(tiny_base), {"verb": "fit", "locales": ["en-US"]})
    return tmp_path / "model", model


def test_a_saved_model_gives_the_same_logits_through_transformers_own_loaders(
    saved: tuple[Path, Any], corpus: Any
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder, model = saved
    texts = list(corpus.rows("de-DE", "dev").texts[:8])
    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model.eval()(**tokens).logits
        assert torch.equal(AutoModelForSequenceClassification.from_pretrained(folder)(**tokens).logits, expected)
        assert torch.equal(load_classifier(folder)(**tokens).logits, expected)
    assert label_names(load_classifier(folder)) == corpus.label_names


def test_a_model_folder_is_safetensors_tokenizer_and_what_made_it(saved: tuple[Path, Any]) -> None:
    folder, _ = saved
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "training_details.json"}
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl", ".ckpt"))]
    assert json.loads((folder / "training_details.json").read_text())["locales"] == ["en-US"]


def test_a_model_is_never_written_over_another(saved: tuple[Path, Any], tiny_base: Path) -> None:
    folder, model = saved
    with pytest.raises(UserError, match="already holds a model"):
        save_model(folder, model, load_tokenizer(tiny_base), {})


def test_a_base_is_not_taken_for_a_trained_classifier(tiny_base: Path) -> None:
    with pytest.raises(UserError, match=r"is not a trained classifier: it lacks classifier\.dense\.bias, .*train"):
        load_classifier(tiny_base)


def test_a_classifier_of_other_labels_is_no_base(saved: tuple[Path, Any]) -> None:
    with pytest.raises(UserError, match=r"is a classifier of other labels .* than the corpus' 3"):
        load_base(saved[0], ("a", "b", "c"), 0)


def test_a_classifier_of_as_many_labels_by_other_names_is_no_base(saved: tuple[Path, Any]) -> None:
    names = label_names(load_classifier(saved[0]))
    with pytest.raises(UserError, match="is a classifier of other labels"):
        load_base(saved[0], (*names[1:], "another"), 0)
    assert label_names(load_base(saved[0], names, 0)) == names


def test_a_folder_without_a_model_is_named(tmp_path: Path, corpus: Any) -> None:
    for load in (load_classifier, load_tokenizer, lambda source: load_base(source, corpus.label_names, 0)):
        with pytest.raises(UserError, match=r"is not a model folder: it has no config\.json"):
            load(tmp_path)
        with pytest.raises(UserError, match=r"no model folder at .*nowhere"):
            load(tmp_path / "nowhere")
        with pytest.raises(UserError, match="no model folder at"):
            load("./nowhere")


def test_a_broken_model_is_one_line(saved: tuple[Path, Any]) -> None:
    folder, _ = saved
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError) as caught:
        load_classifier(folder)
    assert f"{folder}/config.json is not valid JSON" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_network_a_hub_id_is_one_line_with_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Any
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # HF_HUB_OFFLINE=1 is read when the library is imported
    monkeypatch.chdir(tmp_path)
    name = "nobody/no-such-base"
    for load, what in ((load_tokenizer, "tokenizer"), (lambda one: load_base(one, corpus.label_names, 0), "model")):
        with pytest.raises(UserError) as caught:
            load(name)
        message = str(caught.value)
        assert message.startswith(f"cannot download the {what} '{name}' from the Hugging Face hub")
        assert "check the network" in message
        assert "--base" in message
        assert "checkpoints/xlm-r-cldr" in message
        assert "\n" not in message


def test_the_weights_of_a_folder_and_of_the_hubs_cache_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--someone--xlm-r"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    snapshot = cached / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        assert weights_file("someone/xlm-r") is None
        (snapshot / name).write_text("{}")
    assert weights_file("someone/xlm-r") == snapshot / "model.safetensors"
    assert weights_file(snapshot) == snapshot / "model.safetensors"
    (snapshot / "model.safetensors").unlink()
    assert weights_file(snapshot) is None
