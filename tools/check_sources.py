"""Checks that every source file is named in the meson.build of its folder or one above.

A Python file that is not listed would be missing from the wheel, a test not listed never run.
"""

import subprocess
import sys
from pathlib import Path

ROOTS = ("native", "pkg")
SUFFIXES = {".cpp", ".metal", ".mm", ".py", ".pyi", ".pyx"}


def listed(file: Path, root: Path) -> bool:
    """Return whether a meson.build between ``file`` and ``root`` names ``file``."""
    for folder in file.parents:
        build = folder / "meson.build"
        if build.exists():
            text = build.read_text(encoding="utf-8")
            name = file.relative_to(folder).as_posix()
            # A list of names without the suffix, as the C++ tests have it, will do.
            if f"'{name}'" in text or f"'{name.removesuffix(file.suffix)}'" in text:
                return True
        if folder == root:
            return False
    return False


def main() -> int:
    """Print the files that are not listed, and return how many."""
    output = subprocess.run(
        ["git", "ls-files", "-z", "--", *ROOTS], check=True, capture_output=True, text=True
    ).stdout
    files = [Path(name) for name in output.split("\0") if name]
    missing = [
        file
        for file in files
        if file.suffix in SUFFIXES and file.exists() and not listed(file, Path(file.parts[0]))
    ]
    for file in missing:
        print(f"{file} is in no meson.build.")
    return len(missing)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
