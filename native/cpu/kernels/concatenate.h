// Kernels that lay arrays out beside each other or inside a border.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void concatenate(const Launch& launch) noexcept;
void pad(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
