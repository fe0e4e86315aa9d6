// Running sums and products along the last axis.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void cumulative_sum(const Launch& launch) noexcept;
void cumulative_prod(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
