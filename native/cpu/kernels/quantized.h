// Products with, and expansion of, GGUF's quantised blocks (Q4_0, Q4_1, Q8_0) as they lie in a
// file.
#pragma once

#include "cpu/kernel.h"

namespace nitinol::cpu::kernels {

void quantized_matmul(const Launch& launch) noexcept;  // x @ W.T, W never dequantised whole
void dequantize(const Launch& launch) noexcept;
void quantized_take(const Launch& launch) noexcept;  // fault index_out_of_range on axis 0

}  // namespace nitinol::cpu::kernels
