// Functional updates of a region at a run-time start or a fixed slice.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void slice_update(const Launch& launch) noexcept;
void strided_update(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
