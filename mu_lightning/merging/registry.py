"""Every merge method by name. A method is one file in `methods/` that defines `METHOD`, and one line here."""

import importlib
from collections.abc import Iterator, Mapping

from mu_lightning.errors import unknown
from mu_lightning.merging.method import Method

_MODULES = {
    "linear": "linear",
}


class _Methods(Mapping[str, Method]):
    """Name -> method; a method's file, and torch with it, is imported when it is first asked for."""

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
    """The method of that name; a `Method` is returned as it is.

    Raises:
        UserError: no method has that name; the nearest ones are named.
    """
    if isinstance(method, Method):
        return method
    if method not in METHODS:
        raise unknown("merge method", method, METHODS)
    return METHODS[method]
