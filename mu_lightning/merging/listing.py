"""Lists the merge methods as text, for ``merge --list-methods``."""

import dataclasses
from typing import Any

from mu_lightning.merging.method import Method
from mu_lightning.merging.registry import METHODS


def list_methods() -> str:
    """Lists every method with its requirements, parameters, defaults and paper."""
    return "\n\n".join(_described(method) for method in METHODS.values())


def methods_table() -> str:
    """Lists the methods as a Markdown table, for `docs/merging.md`."""
    rows = []
    for method in METHODS.values():
        parameters = ", ".join(
            f"`{field.name}` {field.default}{_range(field)}" for field in dataclasses.fields(method.parameters)
        )
        paper = f"[{method.paper}]({method.url})"
        rows.append((f"`{method.name}`", method.summary, "; ".join(_needs(method)), parameters, paper))
    head = ("method", "what it does", "needs", "parameters", "paper")
    return "\n".join(f"| {' | '.join(cells)} |".replace("  ", " ") for cells in (head, ["---"] * len(head), *rows))


def _needs(method: Method) -> list[str]:
    return [
        *(["a base model"] if method.needs_base else ["a base model if given"] if method.may_use_base else []),
        *([f"text, for {method.needs_statistics}"] if method.needs_statistics else []),
        *([f"{method.min_sources} or more sources"] if method.min_sources > 1 and method.max_sources is None else []),
        *([f"{method.max_sources} source{'s' if method.max_sources > 1 else ''}"] if method.max_sources else []),
        *([] if method.takes_weights else ["no weights"]),
    ]


def _described(method: Method) -> str:
    needs = _needs(method)
    lines = [f"{method.name}: {method.summary}" + (f" [{'; '.join(needs)}]" if needs else "")]
    for field in dataclasses.fields(method.parameters):
        lines.append(f"    {field.name} = {field.default}{_range(field)}: {field.metadata['help']}")
    return "\n".join([*lines, f"    {method.paper}, {method.url}"])


def _range(field: "dataclasses.Field[Any]") -> str:
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    if choices:
        return f" ({' or '.join(choices)})"
    if low is None and high is None:
        return ""
    return f" ({'' if low is None else format(low, 'g')}..{'' if high is None else format(high, 'g')})"
