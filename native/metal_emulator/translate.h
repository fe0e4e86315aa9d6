// The text pass of the kernel compiler: Metal Shading Language in, C++ for clang out.
#pragma once

#include <string>

namespace metal_emulator {

struct Translation {
  std::string text;   // to be compiled behind the emulator's metal_stdlib
  std::string error;  // not empty: the source is no valid Metal, and this says why
};

Translation translate(const std::string& source);

}  // namespace metal_emulator
