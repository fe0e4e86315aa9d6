"""Finds the OpenBLAS library that the scipy-openblas packages install.

The packages themselves aren't imported: that loads their library with its names visible to every
other library, and NumPy, loaded later, would compute with this copy and its settings.
"""

import importlib.util
import os

PACKAGES = ("scipy_openblas64", "scipy_openblas32")


def library_path() -> str:
    """The path of the shared library.

    Raises
    ------
    ImportError
        If none of the packages is installed, or it holds no library.
    """
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is None:
            continue
        for folder in spec.submodule_search_locations or ():
            found = os.path.join(folder, "lib")
            for name in sorted(os.listdir(found)) if os.path.isdir(found) else ():
                if name.startswith("libscipy_openblas") and not name.endswith(".a"):
                    return os.path.join(found, name)
        raise ImportError(f"The package {package} is installed, but holds no library.")
    raise ImportError(
        "nitinol computes matrix products with OpenBLAS; install it with "
        "'pip install scipy-openblas64'."
    )


if __name__ == "__main__":  # for the build of the C++ tests
    print(library_path())
