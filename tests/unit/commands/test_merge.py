"""The command `merge`: from a target to a merged folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, XLMRobertaConfig

from mu_lightning.commands.merge import run
from mu_lightning.merging.recipes.command_line import parse_parameters
from mu_lightning.utilities.errors import UserError

LOCALES = ("it-IT", "en-US", "el-GR")
LABELS = {0: "alarm", 1: "music"}


def save(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    config = XLMRobertaConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        id2label=LABELS,
        label2id={name: index for index, name in LABELS.items()},
    )
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed, locale in enumerate(LOCALES):
        save(tmp_path / "models" / f"xlm-r_cldr_{locale}", seed)
    return tmp_path / "models"


def arguments(models: Path, *more: str) -> list[str]:
    return ["--target-lang", "sq-AL", "--num-languages", "3", "--models-dir", str(models), *more]


def test_it_merges_the_neighbors_and_says_where(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments(models)) == 0
    printed = capsys.readouterr().out
    assert "merged model: merged/linear_uriel_sq-AL" in printed
    assert all(locale in printed for locale in LOCALES)
    details = json.loads(Path("merged/linear_uriel_sq-AL/merge_details.json").read_text())
    assert sum(source["weight"] for source in details["sources"]) == pytest.approx(1, abs=1e-12)
    assert {source["source"] for source in details["sources"]} == set(LOCALES)
    assert all(0 < source["similarity"] < 1 for source in details["sources"])
    model = AutoModelForSequenceClassification.from_pretrained("merged/linear_uriel_sq-AL")
    assert model.config.id2label == LABELS


def test_the_old_modes_are_weights_and_methods(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(arguments(models, "--mode", "average", "--output-dir", "average"))
    states = [load_file(folder / "model.safetensors") for folder in models.iterdir()]
    for name, tensor in load_file("average/model.safetensors").items():
        torch.testing.assert_close(tensor, torch.stack([state[name] for state in states]).mean(0))
    run(arguments(models, "--mode", "manual", "--weights", "it-IT=1,en-US=0,el-GR=0", "--output-dir", "manual"))
    alone = load_file(models / "xlm-r_cldr_it-IT" / "model.safetensors")
    for name, tensor in load_file("manual/model.safetensors").items():
        torch.testing.assert_close(tensor, alone[name])
    with pytest.raises(UserError, match="--mode average means --preweight equal, but --preweight uriel is given"):
        run(arguments(models, "--mode", "average", "--preweight", "uriel"))
    with pytest.raises(UserError, match="unknown mode 'averege': did you mean average"):
        run(arguments(models, "--mode", "averege"))


def test_a_dry_run_plans_and_writes_nothing(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = set(Path.cwd().iterdir())
    assert run(arguments(models, "--dry-run")) == 0
    printed = capsys.readouterr().out
    assert "plan: linear (weighting=mean, scale=1.0)" in printed
    assert "to: merged/linear_uriel_sq-AL" in printed
    assert set(Path.cwd().iterdir()) == before


def test_what_cannot_be_done_is_refused(models: Path) -> None:
    with pytest.raises(UserError, match="--recipe and --merge-method are mutually exclusive"):
        run(["--recipe", "recipe.yaml", "--merge-method", "linear"])
    with pytest.raises(UserError, match="no target is given"):
        run(["--models-dir", str(models)])
    with pytest.raises(UserError, match="not of the form"):
        parse_parameters("density")
    run(arguments(models))
    with pytest.raises(UserError, match="already holds"):
        run(arguments(models))
    state = load_file(models / "xlm-r_cldr_el-GR" / "model.safetensors")
    save_file(
        {name: tensor for name, tensor in state.items() if "out_proj" not in name},
        models / "xlm-r_cldr_el-GR" / "model.safetensors",
    )
    with pytest.raises(UserError, match=r"classifier.out_proj.bias"):
        run(arguments(models, "--dry-run", "--output-dir", "other"))


def test_the_parser_imports_nothing_heavy() -> None:
    code = (
        "import sys, mu_lightning.commands.merge as command; command.parser(); "
        "print([name for name in ('torch', 'transformers', 'lightning', 'pandas') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_method_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    from mu_lightning.merging.registry import METHODS

    assert run(["--list-methods"]) == 0
    printed = capsys.readouterr().out
    for method in METHODS.values():
        assert f"{method.name}: {method.summary}" in printed
        assert method.url in printed


def test_a_recipe_is_run_and_the_result_s_recipe_gives_it_again(
    models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(Path("base"), 9)
    recipe = """
merge_method: dare_ties
base_model: base
models:
  - {model: models/xlm-r_cldr_it-IT, parameters: {weight: 0.6}}
  - {model: models/xlm-r_cldr_en-US, parameters: {weight: 0.4}}
parameters: {density: 0.5}
"""
    Path("recipe.yaml").write_text(recipe)
    assert run(["--recipe", "recipe.yaml"]) == 0
    assert "merged model: merged/recipe" in capsys.readouterr().out
    first = load_file("merged/recipe/model.safetensors")
    text = Path("merged/recipe/merge_recipe.yaml").read_text()
    for name in ("xlm-r_cldr_it-IT", "xlm-r_cldr_en-US"):
        text = text.replace(f"model: {name}", f"model: models/{name}")
    Path("again.yaml").write_text(text)
    run(["--recipe", "again.yaml", "--output-dir", "again"])
    second = load_file("again/model.safetensors")
    assert all(torch.equal(first[name], tensor) for name, tensor in second.items())


def test_the_old_mask_rate_is_dare_inside_task_arithmetic_and_ties(models: Path) -> None:
    save(Path("base"), 9)
    run(
        arguments(
            models, "--mode", "ties", "--param-value-mask-rate", "0.3", "--base-model", "base", "--output-dir", "o"
        )
    )
    details = json.loads(Path("o/merge_details.json").read_text())
    assert details["method"] == "dare_ties"
    assert details["parameters"]["density"] == pytest.approx(0.7)
    assert details["parameters"]["trim"] == 0.2
    with pytest.raises(UserError, match="not for linear"):
        run(arguments(models, "--param-value-mask-rate", "0.3"))


def test_a_merged_model_is_uploaded(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    calls = []

    class Api:
        def whoami(self) -> None:
            calls.append("whoami")

        def create_repo(self, repository: str, **_: object) -> str:
            calls.append(repository)
            return f"https://hub/{repository}"

        def upload_folder(self, **given: object) -> None:
            calls.append(sorted(path.name for path in Path(str(given["folder_path"])).iterdir()))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    run(arguments(models, "--push-to-hub", "org/merged"))
    assert calls[:2] == ["whoami", "org/merged"]
    assert {"README.md", "config.json", "model.safetensors", "merge_details.txt", "merge_recipe.yaml"} <= {*calls[2]}
    with pytest.raises(UserError, match="cannot upload to 'a/b/c'"):
        run(arguments(models, "--push-to-hub", "a/b/c", "--output-dir", "other"))
    assert not Path("other").exists()


def test_overrides_and_shards_on_the_command_line(models: Path) -> None:
    run(
        arguments(
            models,
            *("--mode", "average", "--max-shard-size", "6KB", "--output-dir", "out"),
            *("--overrides", "classifier.*:weight.it-IT=0,weight.en-US=0,weight.el-GR=1"),
        )
    )
    assert len(list(Path("out").glob("model-*.safetensors"))) > 2
    merged = AutoModelForSequenceClassification.from_pretrained("out").state_dict()
    greek = load_file(models / "xlm-r_cldr_el-GR" / "model.safetensors")
    assert all(torch.equal(merged[name], greek[name]) for name in merged if name.startswith("classifier."))
    embeddings = "roberta.embeddings.word_embeddings.weight"
    assert not torch.equal(merged[embeddings], greek[embeddings])
    assert "classifier.*" in Path("out/merge_recipe.yaml").read_text()
    with pytest.raises(UserError, match="no tensor matches the pattern 'head"):
        run(arguments(models, "--overrides", "head.*:weight.it-IT=0", "--output-dir", "other"))


def test_a_base_that_the_sources_name_is_found(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(Path("base"), 9)
    with pytest.raises(UserError, match=r"does not say the base model .* name it by --base"):
        run(arguments(models, "--mode", "ties"))
    for folder in models.iterdir():
        details = {"config": {"model": {"base": str(Path("base").absolute())}}}
        (folder / "training_details.json").write_text(json.dumps(details))
    run(arguments(models, "--mode", "ties"))
    assert "from the training details of the sources" in capsys.readouterr().out
    run(arguments(models, "--mode", "ties", "--base-model", "base", "--output-dir", "named"))
    one, other = (load_file(f"{name}/model.safetensors") for name in ("merged/ties_uriel_sq-AL", "named"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    details = {"config": {"model": {"base": "another/base"}}}
    (models / "xlm-r_cldr_el-GR" / "training_details.json").write_text(json.dumps(details))
    with pytest.raises(UserError, match="the sources disagree on the base model"):
        run(arguments(models, "--mode", "ties", "--output-dir", "third"))


def test_a_method_for_two_models_takes_two_sources(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--target-lang", "sq-AL", "--models-dir", str(models)]
    run([*given, "--mode", "slerp"])
    details = json.loads(Path("merged/slerp_uriel_sq-AL/merge_details.json").read_text())
    assert len(details["sources"]) == 2
    assert details["supervision"] == "none"
    with pytest.raises(UserError, match="slerp accepts at most 2 sources, got 3"):
        run([*given, "--mode", "slerp", "--num-languages", "3", "--output-dir", "other"])
    run([*given, "--mode", "fisher_simple", "--num-languages", "3"])
    capsys.readouterr()
    run([*given, "--mode", "magmax", "--num-languages", "3", "--base-model", str(models / "xlm-r_cldr_it-IT")])
    assert "magmax determines weights itself" in capsys.readouterr().out


def test_ties_and_float8_that_would_lose_something_are_refused(models: Path) -> None:
    states = {folder: load_file(folder / "model.safetensors") for folder in models.iterdir()}
    embeddings = "roberta.embeddings.word_embeddings.weight"
    for folder, state in states.items():
        save_file({**state, "lm_head.decoder.weight": state[embeddings] + 1}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"lm_head.decoder.weight of .* would be lost: its config ties"):
        run(arguments(models, "--dry-run"))
    for folder, state in states.items():
        save_file(state, folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        changed = {"tie_word_embeddings": False, "architectures": ["XLMRobertaForMaskedLM"]}
        (folder / "config.json").write_text(json.dumps(config | changed))
    with pytest.raises(UserError, match=r"the output embedding of .* is lost"):
        run(arguments(models, "--dry-run"))
    folder, state = next(iter(states.items()))
    save_file({**state, embeddings: state[embeddings].to(torch.float8_e4m3fn)}, folder / "model.safetensors")
    with pytest.raises(UserError, match=f"{embeddings} is float.* cannot be promoted"):
        run(arguments(models, "--dry-run"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("data: {target: zz-ZZ}", "unknown locale 'zz-ZZ'"),
        ("seed: -1", "the seed is -1: expected a number at least 0"),
        ("seed: 4294967296", "the seed is 4294967296: expected a number at least 0 and at most 4294967295"),
    ],
)
def test_values_of_a_recipe_that_its_method_does_not_read_are_checked_too(
    models: Path, more: str, message: str, tmp_path: Path
) -> None:
    sources = ", ".join(f"{tag}: {models / f'xlm-r_cldr_{tag}'}" for tag in LOCALES[:2])
    (tmp_path / "r.yaml").write_text(f"method: linear\nsources: {{{sources}}}\n{more}\n")
    with pytest.raises(UserError, match=message):
        run(["--recipe", str(tmp_path / "r.yaml"), "--output-dir", "out"])
    assert not (tmp_path / "out").exists()
