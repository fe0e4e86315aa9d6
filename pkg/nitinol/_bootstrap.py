"""Makes the Cython modules importable that live together in one shared object.

They share one C++ core. Were each a file of its own, each would link its own copy of
the core, with its own devices and error records.
"""

import importlib.util
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec

from nitinol import _native

MODULES = frozenset(
    f"nitinol.{name}"
    for name in (
        "_array",
        "_core",
        "_debug",
        "_device",
        "_dlpack",
        "_errors",
        "_evaluation",
        "_graph",
        "_interop",
        "_operations",
        "_runtime",
        "_scope",
        "_stream",
        "_wait",
    )
)


class NativeFinder:
    """A meta-path finder for the modules inside ``nitinol._native``."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the spec of a module of ours; None for every other name."""
        if name not in MODULES:
            return None
        file = _native.__file__
        return importlib.util.spec_from_file_location(
            name, file, loader=ExtensionFileLoader(name, file)
        )


def install() -> None:
    """Add the finder to ``sys.meta_path``, once."""
    if not any(getattr(finder, "MODULES", None) == MODULES for finder in sys.meta_path):
        sys.meta_path.append(NativeFinder)
