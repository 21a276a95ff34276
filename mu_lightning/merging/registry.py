"""Registry of merge methods. A method is a file in `methods/` that defines `METHOD`, and a line here."""

import importlib
from collections.abc import Iterator, Mapping

from mu_lightning.merging.method import Method
from mu_lightning.utilities.errors import unknown

_MODULES = {
    "linear": "linear",
    "slerp": "slerp",
    "nuslerp": "nuslerp",
    "multislerp": "multislerp",
    "karcher": "karcher",
    "task_arithmetic": "task_arithmetic",
    "ties": "ties",
    "dare_linear": "dare",
    "dare_ties": "dare",
    "breadcrumbs": "breadcrumbs",
    "breadcrumbs_ties": "breadcrumbs",
    "della": "della",
    "della_linear": "della",
    "sce": "sce",
    "model_stock": "model_stock",
    "arcee_fusion": "arcee_fusion",
    "nearswap": "nearswap",
    "passthrough": "passthrough",
    "ram": "ram",
    "magmax": "magmax",
    "tall_mask": "tall_mask",
    "expo": "expo",
    "tsv_m": "tsv_m",
    "iso_c": "iso_c",
    "iso_cts": "iso_c",
    "wudi": "wudi",
    "fisher": "fisher",
    "fisher_simple": "fisher_simple",
    "regmean": "regmean",
    "regmean_plus": "regmean",
    "adamerging": "adamerging",
}


class _Methods(Mapping[str, Method]):
    """Maps names to methods; a method's module, and torch with it, is imported on access."""

    def __getitem__(self, name: str) -> Method:
        if name not in _MODULES:
            raise KeyError(name)
        module = importlib.import_module(f"mu_lightning.merging.methods.{_MODULES[name]}")
        found = {method.name: method for method in getattr(module, "METHODS", [getattr(module, "METHOD", None)])}
        return found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


METHODS: Mapping[str, Method] = _Methods()


def find_method(method: str | Method) -> Method:
    """Returns a method by name; a `Method` is returned unchanged.

    Raises:
        UserError: unknown name; similar names are suggested.
    """
    if isinstance(method, Method):
        return method
    if method not in METHODS:
        raise unknown("merge method", method, METHODS)
    return METHODS[method]
