"""Classes of classifiers: their names, and heads whose classes stand in another order."""

from collections.abc import Mapping, Sequence
from typing import Any

from mu_lightning.utilities.errors import UserError, shown

# The last layer of a classification head in transformers' models; the first that a model has is its.
_OUTPUT_LAYERS = ("classifier.out_proj", "classification_head.out_proj", "classifier", "score", "logits_proj")


def class_names(config: Mapping[str, Any], what: str) -> tuple[str, ...] | None:
    """The names of a config's classes in the order of their indices; None if it names none.

    Args:
        config: content of config.json, or its ``id2label`` alone.
        what: the model, for the error.

    Raises:
        UserError: ``id2label`` does not name each index from 0 on once, or a name is repeated.
    """
    labels = config.get("id2label")
    if labels is None:
        return None
    try:
        names = {int(index): str(name) for index, name in labels.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"id2label of {what} is {shown(labels)}: it must map indices to class names") from error
    missing = [index for index in range(len(labels)) if index not in names]
    if missing:
        raise UserError(f"id2label of {what} has {len(labels)} classes, but none with the index {missing[0]}")
    found = tuple(names[index] for index in range(len(names)))
    twice = [name for place, name in enumerate(found) if name in found[:place]]
    if twice:
        raise UserError(f"id2label of {what} names the class '{twice[0]}' twice")
    return found


def class_order(names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...] | None:
    """Where each wanted class stands among `names`; None if that is where it is wanted, or the classes differ.

    >>> class_order(["on", "off", "set"], ["off", "on", "set"])
    (1, 0, 2)
    """
    if tuple(names) == tuple(wanted) or sorted(names) != sorted(wanted):
        return None
    places = {name: place for place, name in enumerate(names)}
    return tuple(places[name] for name in wanted)


def output_layer(shapes: Mapping[str, Sequence[int]], classes: int, what: str) -> list[str]:
    """The tensors of a classifier's last layer, which have a row for each class.

    Args:
        shapes: tensor name -> shape.
        classes: number of classes.
        what: the model, for the error.

    Raises:
        UserError: no such layer is known here.
    """
    for layer in _OUTPUT_LAYERS:
        found = [name for name in (f"{layer}.weight", f"{layer}.bias") if name in shapes]
        if found and all(shapes[name][0] == classes for name in found):
            return found
    raise UserError(
        f"the classes of {what} are in another order, and its last layer is not known here (none of "
        f"{', '.join(_OUTPUT_LAYERS)} with {classes} rows): save it with the classes in one order"
    )
