// The text of the emulator's metal_stdlib, put into the program by embed.py.
#pragma once

#include <string_view>
#include <vector>

namespace metal_emulator {

struct StdlibFile {
  std::string_view name;
  std::string_view text;
};

const std::vector<StdlibFile>& stdlib_files();

}  // namespace metal_emulator
