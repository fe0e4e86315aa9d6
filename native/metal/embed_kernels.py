"""Writes a C++ file that holds the text of .metal files: embed_kernels.py OUTPUT FILE..."""

import sys
from pathlib import Path

HEAD = """// Made by embed_kernels.py.
#include "metal/kernel_text.h"

namespace nitinol::metal {
namespace {

constexpr KernelFile files[] = {
"""
TAIL = """};

}  // namespace

std::span<const KernelFile> kernel_files() noexcept { return files; }

std::string_view kernel_text(std::string_view name) noexcept {
  for (const KernelFile& file : files) {
    if (file.name == name) return file.text;
  }
  return {};
}

}  // namespace nitinol::metal
"""


def literal(text: str) -> str:
    """Return a C++ expression for the text, in pieces that every compiler takes."""
    pieces = [text[i : i + 8000] for i in range(0, len(text), 8000)] or [""]
    return "\n".join(f'R"msl({piece})msl"' for piece in pieces)


def main() -> None:
    """Write the file."""
    output, *sources = sys.argv[1:]
    parts = [HEAD]
    for source in sorted(map(Path, sources), key=lambda path: path.stem):
        text = source.read_text(encoding="utf-8")
        if not text.isascii():
            sys.exit(f"{source} is not plain ASCII.")
        parts.append(f'    {{"{source.stem}",\n{literal(text)}}},\n')
    parts.append(TAIL)
    Path(output).write_text("".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
