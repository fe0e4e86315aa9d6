// read_file: the data of an array that lies in a file.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

// In Params.ints[2]: the file's elements are bfloat16, which has no DType.
inline constexpr std::int64_t file_bfloat16 = -2;
// In Params.ints[4]: the file's time of modification isn't checked.
inline constexpr std::int64_t unchecked_mtime = -1;

void read_file(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
