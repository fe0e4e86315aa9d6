// Writing or combining elements at positions that index arrays give.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void scatter(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
