// Rotary position embedding, for float16, float32 and float64.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

// Pair i of the row at position p turns by the angle p * scale * base^(-2i / dims). The pairs are
// (x[i], x[i + dims / 2]), or (x[2i], x[2i + 1]) when interleaved; elements beyond `dims` stay.
void rope(const Launch& launch) noexcept;

}  // namespace nitinol::cpu::kernels
