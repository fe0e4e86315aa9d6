// Keeps the folder of compiled kernels from growing for ever.
#pragma once

#include <cstdint>
#include <string>

namespace metal_emulator {

// Notes that a file was used just now; false when it isn't there.
bool touch(const std::string& path);

struct Bounds {
  std::int64_t seconds_unused = 30 * 86400;  // a compiler's folder of which nobody took a kernel
  std::uint64_t bytes = std::uint64_t{256} << 20;  // of the kernels in a folder
  std::int64_t seconds_spared = 3600;              // what was used so lately may be in use now
};

// Removes folders below `root` whose metal.pch was not touched for so long, and of the
// kernels in the others those that were touched least recently, where they are too many, until
// half of that is left. Once a day: `root`/pruned says when. Nothing that fails here matters.
void prune(const std::string& root, const Bounds& bounds = {});

}  // namespace metal_emulator
