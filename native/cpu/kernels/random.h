// Counter-based random numbers: element e depends on (seed, offset, e) alone.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void random_bits(const Launch& launch) noexcept;
void random_uniform(const Launch& launch) noexcept;
void random_normal(const Launch& launch) noexcept;
void random_integers(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
