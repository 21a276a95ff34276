"""Classes by their names, and heads whose classes stand in another order."""

from pathlib import Path
from typing import Any

import pytest

from mu_lightning.merging.folders.alignment import in_class_order
from mu_lightning.merging.folders.labels import class_names, class_order, output_layer
from mu_lightning.merging.folders.model_folders import ModelFolder
from mu_lightning.merging.folders.safetensor_files import Entry
from mu_lightning.utilities.errors import UserError


def test_names_stand_in_the_order_of_their_indices() -> None:
    assert class_names({"id2label": {"1": "b", "0": "a"}}, "m") == ("a", "b")
    assert class_names({}, "m") is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"0": "a", "2": "b"}, "2 classes, but none with the index 1"),
        ({"0": "a", "1": "a"}, "names the class 'a' twice"),
        (["a"], "must map indices to class names"),
        ({"x": "a"}, "must map indices to class names"),
        ({"0": "a", "00": "b"}, "2 classes, but none with the index 1"),
    ],
)
def test_what_names_no_class_for_each_index_is_refused(labels: Any, expected: str) -> None:
    with pytest.raises(UserError, match=rf"id2label of the model .*{expected}"):
        class_names({"id2label": labels}, "the model")


def test_an_order_is_none_where_nothing_is_to_be_moved_or_the_classes_differ() -> None:
    assert class_order("abc", "abc") is None
    assert class_order("abc", "abd") is None
    assert class_order("abc", "ab") is None
    assert class_order("abc", "cab") == (2, 0, 1)


@pytest.mark.parametrize("layer", ["classifier.out_proj", "classifier", "score"])
def test_the_last_layer_is_found_by_its_name_and_rows(layer: str) -> None:
    shapes = {"encoder.weight": (3, 3), "classifier.dense.weight": (3, 3), f"{layer}.weight": (3, 4)}
    assert output_layer(shapes, 3, "m") == [f"{layer}.weight"]
    with pytest.raises(UserError, match="last layer is not known"):
        output_layer(shapes, 4, "m")


def test_a_folder_of_other_classes_stays_as_it_is() -> None:
    entry = Entry(Path("x"), "float32", (2, 4), 0, 32)
    folder = ModelFolder(Path("m"), {"id2label": {"0": "a", "1": "b"}}, {"classifier.weight": entry, "w": entry})
    assert in_class_order(folder, ["a", "c"], "m") is folder
    assert in_class_order(folder, ["a", "b"], "m") is folder
    moved = in_class_order(folder, ["b", "a"], "m")
    assert [moved.tensors[name].rows for name in ("classifier.weight", "w")] == [(1, 0), None]
    assert moved.config == {"id2label": {"0": "b", "1": "a"}, "label2id": {"b": 0, "a": 1}}
