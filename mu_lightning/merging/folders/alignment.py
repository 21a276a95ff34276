"""Makes model folders comparable that differ in what loading makes up for, and says what it did.

Folders may have their classes in another order, store buffers that loading ignores, or be a base that is an encoder
alone or has another head.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mu_lightning.merging.folders.labels import class_names, class_order, output_layer
from mu_lightning.merging.folders.model_folders import ModelFolder
from mu_lightning.merging.folders.tensor_names import aligned_names, is_computed
from mu_lightning.merging.methods.shared.scaling import HEADS


def aligned_sources(folders: Mapping[str, ModelFolder]) -> tuple[dict[str, ModelFolder], list[str]]:
    """Model folders with their classes in the order of the first one, without buffers that only some have.

    Args:
        folders: source name -> opened folder.

    Returns:
        The folders, and a line for each change.
    """
    (first, reference), *_ = folders.items()
    wanted = class_names(reference.config, first)
    ordered = {
        name: folder if wanted is None else in_class_order(folder, wanted, name) for name, folder in folders.items()
    }
    moved = [name for name, folder in folders.items() if ordered[name] is not folder]
    notes = [f"classes of {', '.join(moved)} reordered as in {first}"] if moved else []
    shared = set.intersection(*(set(folder.tensors) for folder in ordered.values()))
    left_out = sorted({name for folder in ordered.values() for name in folder.tensors if is_computed(name)} - shared)
    if left_out:
        notes.append(f"left out (ignored by loading): {', '.join(left_out)}")
        ordered = {name: without(folder, left_out) for name, folder in ordered.items()}
    return ordered, notes


def aligned_base(base: ModelFolder, source: ModelFolder) -> tuple[ModelFolder, list[str]]:
    """A base with the names of a source's tensors and its classes' order, without a head that is another one's.

    Args:
        base: the base model.
        source: one of its fine-tuned models.

    Returns:
        The base, and a line for each change.
    """
    names = aligned_names(base.signatures, source.signatures)
    notes = []
    if any(old != new for old, new in names.items()):
        base = replace(base, tensors={names[name]: entry for name, entry in base.tensors.items()})
        notes.append("tensors of the base are matched with the prefix of its base model added or removed")
    labels, own = class_names(source.config, "the source"), class_names(base.config, "the base")
    if labels is not None:
        reordered = in_class_order(base, labels, "the base")
        if reordered is not base:
            notes.append("classes of the base reordered as in the sources")
            base = reordered
    heads = _other_heads(base, source, own is not None and labels is not None and sorted(own) != sorted(labels))
    if heads:
        notes.append(f"head of the base not used, as it is another one: {', '.join(f'{head}.*' for head in heads)}")
        base = without(base, [name for name in base.tensors if name.partition(".")[0] in heads])
    return base, notes


def without(folder: ModelFolder, names: Sequence[str]) -> ModelFolder:
    """A model folder without some tensors."""
    left = set(names)
    return replace(folder, tensors={name: entry for name, entry in folder.tensors.items() if name not in left})


def _other_heads(base: ModelFolder, source: ModelFolder, other_classes: bool) -> list[str]:
    """The modules outside the encoder that cannot be those that a source's started from."""
    sizes: Counter[str] = Counter()
    for name, entry in source.tensors.items():
        sizes[name.partition(".")[0]] += entry.stop - entry.start
    encoder = max(sizes, key=sizes.__getitem__)
    differing = {
        name.partition(".")[0]
        for name, entry in source.tensors.items()
        if name in base.tensors and base.tensors[name].shape != entry.shape
    }
    if other_classes:
        differing |= {head for head in sizes if head in HEADS}
    return sorted(differing - {encoder})


def in_class_order(folder: ModelFolder, wanted: Sequence[str], what: str) -> ModelFolder:
    """The same classifier with its classes in the wanted order; unchanged if its classes are others.

    Args:
        folder: the classifier, opened.
        wanted: names of the classes.
        what: the model, for errors.

    Raises:
        UserError: as of `class_names` and `output_layer`.
    """
    names = class_names(folder.config, what)
    order = None if names is None else class_order(names, wanted)
    if order is None:
        return folder
    shapes = {name: entry.shape for name, entry in folder.tensors.items()}
    layer = output_layer(shapes, len(order), what)
    tensors = {name: replace(entry, rows=order) if name in layer else entry for name, entry in folder.tensors.items()}
    labels = {str(index): name for index, name in enumerate(wanted)}
    config = {**folder.config, "id2label": labels, "label2id": {name: index for index, name in enumerate(wanted)}}
    return replace(folder, config=config, tensors=tensors)
