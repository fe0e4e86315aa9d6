// The text of the .metal files, which a build step puts into the library.
#pragma once

#include <span>
#include <string_view>

namespace nitinol::metal {

struct KernelFile {
  std::string_view name;  // without ".metal"
  std::string_view text;
};

// All files of kernels/, sorted by name.
std::span<const KernelFile> kernel_files() noexcept;
// "" when there is no such file.
std::string_view kernel_text(std::string_view name) noexcept;

}  // namespace nitinol::metal
