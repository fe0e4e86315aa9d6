// Reductions over the last axis.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void sum(const Launch& launch) noexcept;
void prod(const Launch& launch) noexcept;
void max(const Launch& launch) noexcept;
void min(const Launch& launch) noexcept;
void all(const Launch& launch) noexcept;
void any(const Launch& launch) noexcept;
void argmax(const Launch& launch) noexcept;
void argmin(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
