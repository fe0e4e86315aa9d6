// Sorting along the last axis and searching in sorted arrays.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void sort(const Launch& launch) noexcept;
void argsort(const Launch& launch) noexcept;
void searchsorted(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
